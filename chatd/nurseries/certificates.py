"""TLS at the front door: 1.2 and newer, and certificates that can be renewed while it serves."""

from __future__ import annotations

import signal
import ssl

import structlog
import trio

from chatd.config import Settings
from chatd.nurseries.systemd import notify, reloading

# Of TLS 1.2; 1.3 has no others. CBC, which Python's own choice still has, falls to timing.
CIPHERS = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"

log = structlog.get_logger("chatd.tls")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context of the certificate in the settings; None without one.

    Raises:
        OSError: it cannot be read, or the key is another's (ssl.SSLError is one).
    """
    if settings.tls_certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make us do it for ever
    context.set_alpn_protocols(["http/1.1"])  # HTTP/2 is the proxy's
    _load(context, settings)
    return context


def reload_certificate(context: ssl.SSLContext, settings: Settings) -> bool:
    """Let new connections have the certificate that is in the files now; open ones go on.

    Returns:
        False if the files are no good: then the certificate of before stays, and the log says why.
    """
    try:
        # Tried elsewhere first: half a pair in the live context would refuse every handshake.
        _load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), settings)
        _load(context, settings)
    except OSError as failure:
        certfile = str(settings.tls_certfile)
        log.error("certificate_kept", reason=str(failure), certfile=certfile)  # noqa: TRY400 - told
        return False
    log.info("certificate_reloaded", certfile=str(settings.tls_certfile))
    return True


async def reload_at_hangup(
    context: ssl.SSLContext,
    settings: Settings,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Reload at each SIGHUP, until cancelled."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            await notify(reloading())
            await trio.to_thread.run_sync(reload_certificate, context, settings)
            await notify("READY=1")


def _load(context: ssl.SSLContext, settings: Settings) -> None:
    assert settings.tls_certfile is not None  # noqa: S101 - asked before
    # An empty password, or OpenSSL would ask for that of an encrypted key on the terminal.
    context.load_cert_chain(settings.tls_certfile, settings.tls_keyfile, password="")
