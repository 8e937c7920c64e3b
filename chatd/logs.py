"""Logging: one event a line, key and value; for people or as JSON. Never content or secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog

MAX_FIELD = 2048  # characters of one value: a hostile header does not fill the disk

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logs(
    log_format: Literal["console", "json"], level: Literal["debug", "info", "warning", "error"]
) -> None:
    """Send structlog and the standard library's logging to standard error, one line an event."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _bound,
            structlog.processors.format_exc_info,
            _traced,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=_LEVELS["warning"], stream=sys.stderr, force=True)


def _bound(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Cut long values, and keep a value from starting a new line or a terminal sequence."""
    for key, value in event.items():
        if isinstance(value, str):
            cut = value if len(value) <= MAX_FIELD else value[:MAX_FIELD] + "…"
            event[key] = cut.encode("unicode_escape").decode() if not cut.isprintable() else cut
    return event


def _traced(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Indent a traceback, whose last words may be a client's: no line of it passes for an event."""
    trace = event.get("exception")
    if isinstance(trace, str):
        lines = trace.split("\n")
        event["exception"] = "\n".join(
            "  " + (line if line.isprintable() else line.encode("unicode_escape").decode())
            for line in lines
        )
    return event
