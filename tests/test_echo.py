"""`python -m chatd.testing.echo`: its flags, and how it ends."""

from __future__ import annotations

import pytest

from chatd.testing.echo import event_namespaces, main, parser
from tests.protocol_suite.kit import Peer, running_echo


async def test_max_payload_bounds_a_post_and_leaves_its_session() -> None:
    with running_echo("engineio", "--max-payload=100") as port:
        engine = Peer(port, "/engine.io/")
        session = await engine.open_polling()
        assert (await session.post("4" + "x" * 100)).status == 413
        await session.say("4" + "x" * 99)
        assert await session.read() == "4" + "x" * 99


async def test_max_payload_bounds_a_message_and_is_told() -> None:
    with running_echo("engineio", "--max-payload=100") as port:
        engine = Peer(port, "/engine.io/")
        async with engine.websocket() as socket:
            assert (await socket.event())["maxPayload"] == 100
            await socket.send("4" + "x" * 99)
            assert await socket.read() == "4" + "x" * 99
            await socket.send("4" + "x" * 100)
            assert await socket.closed() == ([], 1009)


async def test_connect_timeout_closes_who_joins_nothing() -> None:
    with running_echo("socketio", "--connect-timeout=50") as port:
        sockets = Peer(port, "/socket.io/")
        async with sockets.opened() as socket:
            assert (await socket.closed())[0] == []


@pytest.mark.parametrize("flags", [("--recovery",), ("--recovery=on",)])
async def test_recovery_gives_a_pid_that_brings_a_socket_back(flags: tuple[str, ...]) -> None:
    with running_echo("socketio", *flags) as port:
        sockets = Peer(port, "/socket.io/")
        async with sockets.opened() as socket:
            await socket.send("40")
            known = await socket.event()
            assert set(known) == {"sid", "pid"}
            name, auth, offset = await socket.event()
            assert (name, auth) == ("auth", {})
        async with sockets.opened() as socket:
            await socket.send(f'40{{"pid":"{known["pid"]}","offset":"{offset}"}}')
            assert await socket.event() == known


async def test_without_the_flag_there_is_no_recovery() -> None:
    with running_echo("socketio") as port:
        async with Peer(port, "/socket.io/").opened() as socket:
            await socket.send("40")
            assert set(await socket.event()) == {"sid"}
            assert await socket.event() == ["auth", {}]


async def test_other_paths_are_not_found() -> None:
    with running_echo("engineio") as port:
        answer = await Peer(port, "/socket.io/").ask("EIO=4&transport=polling")
        assert (answer.status, answer.code) == (404, "not_found")


def test_a_kind_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["chat", "--port", "0"])
    assert "invalid choice: 'chat'" in capsys.readouterr().err


def test_the_defaults_are_those_of_node() -> None:
    options = parser().parse_args(["socketio", "--port", "0"])
    assert (options.ping_interval, options.ping_timeout) == (25_000, 20_000)
    assert (options.max_payload, options.connect_timeout) == (1_000_000, 45_000)
    assert set(event_namespaces()) == {"/", "/custom"}
