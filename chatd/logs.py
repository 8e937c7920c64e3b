"""Logging: one event a line, key and value; for people or as JSON. Never content or secrets.

Whatever a value holds, it stays inside its line: control characters are escaped, and it is cut.
A traceback tells where and what, without the values of variables; texts of exceptions that quote
what they did not like are left out.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Literal

import structlog
from pydantic import ValidationError

MAX_FIELD = 2048  # bytes of one value: a hostile header does not fill the disk
MAX_ITEMS = 20  # of a list or a mapping
MAX_DEPTH = 3  # of one in another
MAX_TRACEBACK = 16_384  # bytes of one traceback with all its causes
MAX_FRAMES = 30  # of one exception, the innermost
MAX_EXCEPTIONS = 20  # of a group, or one the cause of the other

WITHHELD = "(withheld)"

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# Nobody logs these; should somebody ever, it is the name that stands there.
_SECRETS = frozenset({
    "access_token", "authorization", "body", "content", "cookie", "cookies", "excerpt", "password",
    "password_hash", "prompt", "refresh_token", "secret", "set-cookie", "token",
})  # fmt: skip

# Their texts quote the value: int("secret"), {}["secret"].
_QUOTING = (ValueError, LookupError)


def configure_logs(
    log_format: Literal["console", "json"], level: Literal["debug", "info", "warning", "error"]
) -> None:
    """Send structlog and the standard library's logging to standard error, one line an event."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    ahead: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        told_exception,
        bounded,
    ]
    structlog.configure(
        processors=[*ahead, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *ahead,
                renderer,
            ],
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(level=_LEVELS["warning"], handlers=[handler], force=True)


def bounded(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Cut long values, and keep a value from starting a new line or a terminal sequence."""
    for key, value in event.items():
        if key.lower() in _SECRETS:
            event[key] = WITHHELD
        elif key != "exception":  # bounded by who made it
            event[key] = _value(value, MAX_DEPTH)
    return event


def told_exception(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put a traceback in place of an exception."""
    found = event.pop("exc_info", None)
    if isinstance(found, tuple):
        found = found[1]
    elif found is not None and not isinstance(found, BaseException):
        found = sys.exc_info()[1]
    if found is not None:
        lines = "\n".join(f"    {_printable(line)}" for line in _traceback(found))
        event["exception"] = _cut(lines, MAX_TRACEBACK)
    return event


def told(error: BaseException) -> str:
    """Return an exception with what its text may say in a log."""
    name = type(error).__qualname__
    if isinstance(error, ValidationError):
        problems = error.errors(include_input=False, include_context=False, include_url=False)
        places = (".".join(map(str, each["loc"])) + ": " + each["type"] for each in problems[:5])
        return f"{name}: {'; '.join(places)}"
    is_own = type(error).__module__.startswith("chatd")
    if isinstance(error, _QUOTING) and not is_own:
        return f"{name}: {WITHHELD}"
    text = str(error)
    return f"{name}: {text}" if text else name


def _traceback(error: BaseException) -> Iterator[str]:
    """Give the lines of a traceback, the outermost exception first, then its causes."""
    waiting, known = [(error, "")], {id(error)}
    told_of = 0
    while waiting and told_of < MAX_EXCEPTIONS:
        each, relation = waiting.pop(0)
        told_of += 1
        yield f"{relation}{_printable(told(each))}"
        for frame in traceback.extract_tb(each.__traceback__, limit=-MAX_FRAMES):
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
        more = [(cause, "because of ") for cause in (_cause(each),) if cause is not None]
        if isinstance(each, BaseExceptionGroup):
            more = [(part, "together with ") for part in each.exceptions] + more
        waiting += [(part, how) for part, how in more if id(part) not in known]
        known.update(id(part) for part, _ in more)


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def _value(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, BaseException):
        return _text(told(value))
    if isinstance(value, Mapping) and depth:
        items = list(value.items())[:MAX_ITEMS]
        return {
            _text(str(k)): WITHHELD if str(k).lower() in _SECRETS else _value(v, depth - 1)
            for k, v in items
        }
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_value(each, depth - 1) for each in list(value)[:MAX_ITEMS]]
    return _text(str(value))


def _text(text: str) -> str:
    return _cut(_printable(text[:MAX_FIELD]), MAX_FIELD, is_cut=len(text) > MAX_FIELD)


def _printable(text: str) -> str:
    """Return a text without anything that moves a cursor, starts a line or turns the direction."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str, size: int, *, is_cut: bool = False) -> str:
    data = text.encode()
    if len(data) > size:
        text, is_cut = data[:size].decode(errors="ignore"), True
    return text + "…" if is_cut else text
