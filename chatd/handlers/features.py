"""What this server can do, told to anybody (`/config.json`)."""

from __future__ import annotations

from chatd.config import Settings
from chatd.context import Caller, Services
from chatd.events.answers import Nothing
from chatd.events.features import Features
from chatd.events.fields import MAX_ATTACHMENTS
from chatd.handlers.operations import Operation, Route
from chatd.model import dumps


async def features(services: Services, _caller: Caller, _command: Nothing) -> bytes:
    """Return what is on and off."""
    return dumps(
        {
            "registration": True,
            "google": services.issuer is not None,
            "mail": services.mailer is not None,
            "emailVerification": services.settings.email_verification,
            "ai": services.assistant is not None,
            "files": services.files is not None,
            "fileLimits": None if services.files is None else _file_limits(services.settings),
            "search": services.is_searchable(),
        }
    )


def _file_limits(settings: Settings) -> dict[str, int]:
    return {
        "maxBytes": settings.file_bytes,
        "maxAttachments": MAX_ATTACHMENTS,
        "maxUserBytes": settings.user_file_bytes,
        "maxUserFiles": settings.user_files,
    }


OPERATIONS = (
    Operation(
        "features",
        Nothing,
        Features,
        "What is on and off at this server",
        run=features,
        route=Route("GET", "/config.json"),
        needs_login=False,
    ),
)
