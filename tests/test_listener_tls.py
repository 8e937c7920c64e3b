"""TLS at the front door."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from chatd.config import Settings
from chatd.nurseries.certificates import (
    reload_at_hangup,
    reload_certificate,
    tls_context,
)
from chatd.nurseries.listener import (
    open_listeners,
)
from tests.http_kit import (
    Client,
    get,
    wait_until,
)
from tests.listener_kit import Door, http, open_door

pytestmark = pytest.mark.threat("T57")


@asynccontextmanager
async def open_tls_door(
    certificate: tuple[Path, Path], head_timeout: float = 5
) -> AsyncIterator[Door]:
    settings = Settings(
        port=0, head_timeout=head_timeout, tls_certfile=certificate[0], tls_keyfile=certificate[1]
    )
    listeners = await open_listeners(settings, tls_context(settings))
    async with open_door(listeners, http(settings)) as door:
        yield door


async def tls(door: Door, context: ssl.SSLContext) -> Client:
    stream = await trio.open_tcp_stream("127.0.0.1", door.port)
    secure = trio.SSLStream(stream, context, server_hostname="chat.test", https_compatible=True)
    try:
        await secure.do_handshake()
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(stream)
        raise
    return Client(secure)


async def test_tls_serves_http_1_1_and_never_offers_h2(certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with open_tls_door(certificate) as door:
        anna = await tls(door, context)
        assert isinstance(anna.stream, trio.SSLStream)
        assert anna.stream.selected_alpn_protocol() == "http/1.1"
        for _ in range(2):
            assert (await anna.ask(get())).status == 200
        assert (await anna.ask(get("/peer"))).body == b"127.0.0.1"
        await anna.stream.aclose()


async def test_tls_below_1_2_is_refused(certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or the client itself would refuse to try
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with open_tls_door(certificate) as door:
        with pytest.raises(trio.BrokenResourceError):
            await tls(door, context)
        anna = await tls(door, ssl.create_default_context(cafile=certificate[0]))
        assert (await anna.ask(get())).status == 200
        await anna.stream.aclose()
        assert door.failures() == 0


@pytest.mark.parametrize(
    "ciphers", ["ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"]
)
async def test_a_cipher_without_authentication_or_forward_secrecy_is_refused(
    certificate: tuple[Path, Path], ciphers: str
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    async with open_tls_door(certificate) as door:
        with pytest.raises(trio.BrokenResourceError):
            await tls(door, context)
        context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")
        anna = await tls(door, context)
        assert (await anna.ask(get())).status == 200
        await anna.stream.aclose()
        assert door.failures() == 0


async def test_a_client_that_renegotiates_is_refused(certificate: tuple[Path, Path]) -> None:
    async with open_tls_door(certificate) as door:
        client = ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{door.port}"]
        with trio.fail_after(10):
            ended = await trio.run_process(
                client, stdin=b"R\n", capture_stdout=True, capture_stderr=True, check=False
            )
        assert b"RENEGOTIATING" in ended.stdout + ended.stderr
        assert b"no renegotiation" in ended.stderr
        await wait_until(lambda: door.guard.open == 0)
        assert door.failures() == 0


async def test_tls_takes_authenticated_ciphers_with_forward_secrecy_only(
    certificate: tuple[Path, Path],
) -> None:
    settings = Settings(tls_certfile=certificate[0], tls_keyfile=certificate[1])
    context = tls_context(settings)
    assert context is not None
    ciphers = {cipher["name"]: cipher["protocol"] for cipher in context.get_ciphers()}
    assert "TLSv1.2" in ciphers.values()
    for name in ciphers:
        assert name.startswith(("TLS_", "ECDHE-")), name
        assert "GCM" in name or "POLY1305" in name, name


async def test_a_handshake_that_stops_half_way_is_closed_at_the_head_timeout(
    certificate: tuple[Path, Path],
) -> None:
    async with open_tls_door(certificate, head_timeout=0.3) as door:
        anna = await door.connect()
        async with anna.stream:
            with trio.fail_after(10):
                await anna.send(b"\x16\x03\x01")
                assert await anna.read_until_closed() == b""


async def test_clear_text_on_the_tls_port_harms_nobody(certificate: tuple[Path, Path]) -> None:
    async with open_tls_door(certificate) as door:
        anna = await door.connect()
        async with anna.stream:
            await anna.send(get())
            assert b"HTTP" not in await anna.read_until_closed()
        await wait_until(lambda: door.guard.open == 0)
        assert door.failures() == 0


async def test_a_client_that_does_not_read_on_tls_is_cut(certificate: tuple[Path, Path]) -> None:
    settings = Settings(
        port=0, write_timeout=0.3, tls_certfile=certificate[0], tls_keyfile=certificate[1]
    )
    async with open_door(
        await open_listeners(settings, tls_context(settings)), http(settings)
    ) as door:
        anna = await tls(door, ssl.create_default_context(cafile=certificate[0]))
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await anna.send(get() * 1_000_000)  # and reads nothing
        await wait_until(lambda: door.guard.open == 0)
        await trio.aclose_forcefully(anna.stream)


async def test_a_refusal_on_tls_is_read_before_the_end(certificate: tuple[Path, Path]) -> None:
    async with open_tls_door(certificate) as door:
        anna = await tls(door, ssl.create_default_context(cafile=certificate[0]))
        assert (await anna.ask(b"nonsense\r\n\r\n")).status == 400
        assert await anna.read_until_closed() == b""
        await anna.stream.aclose()


# Renewal


def make_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={host}", "-addext"),
            *(f"subjectAltName=DNS:{host}", "-keyout", str(keyfile), "-out", str(certfile)),
        ],
        check=True,
        capture_output=True,
    )
    return certfile, keyfile


async def name_served(door: Door) -> str:
    """Return whom the certificate of a new connection names."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = await tls(door, context)
    assert isinstance(client.stream, trio.SSLStream)
    served = client.stream.getpeercert(binary_form=True)
    await client.stream.aclose()
    return "new.test" if b"new.test" in served else "old.test"


async def test_a_renewed_certificate_is_served_and_open_connections_go_on(tmp_path: Path) -> None:
    certfile, keyfile = make_certificate(tmp_path, "old.test")
    settings = Settings(port=0, tls_certfile=certfile, tls_keyfile=keyfile)
    context = tls_context(settings)
    assert context is not None
    listeners = await open_listeners(settings, context)
    async with open_door(listeners, http(settings)) as door, trio.open_nursery() as nursery:
        await nursery.start(reload_at_hangup, context, settings)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        anna = await tls(door, trusting)
        assert await name_served(door) == "old.test"
        make_certificate(tmp_path, "new.test")
        with capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGHUP)
            await wait_until(lambda: bool(logs))
        assert [line["event"] for line in logs] == ["certificate_reloaded"]
        assert await name_served(door) == "new.test"
        assert (await anna.ask(get())).status == 200
        await anna.stream.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("broken", ["cert.pem", "key.pem", "missing", "of another", "encrypted"])
async def test_a_broken_certificate_keeps_the_old_one_and_says_so(
    tmp_path: Path, broken: str
) -> None:
    certfile, keyfile = make_certificate(tmp_path, "old.test")
    settings = Settings(port=0, tls_certfile=certfile, tls_keyfile=keyfile)
    context = tls_context(settings)
    assert context is not None
    if broken == "missing":
        keyfile.unlink()
    elif broken == "of another":
        keyfile.write_bytes(make_certificate(tmp_path / "other", "new.test")[1].read_bytes())
    elif broken == "encrypted":
        locked = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(keyfile)]
        done = await trio.run_process(locked, capture_stdout=True, capture_stderr=True)
        keyfile.write_bytes(done.stdout)
    else:
        (tmp_path / broken).write_text("nonsense")
    listeners = await open_listeners(settings, context)
    async with open_door(listeners, http(settings)) as door:
        with capture_logs() as logs:
            assert not reload_certificate(context, settings)
        assert [line["event"] for line in logs] == ["certificate_kept"]
        assert await name_served(door) == "old.test"
