"""The bench's own parts: what it counts must be what went over the wire, and what the books say."""

from __future__ import annotations

import json
import mmap
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from bench import floor
from bench.__main__ import main
from bench.accounting import (
    cost,
    cpu_seconds,
    descendants,
    main_thread_time,
    resident_kib,
    stat_seconds,
)
from bench.frames import CLOSE, PING, TEXT, FrameCounter, masked
from bench.peers import report as peers_report
from bench.peers.__main__ import main as peers_main
from bench.plan import Figure
from bench.report import line, ratios, write_json
from bench.swarm import Swarm
from bench.wires import PlainWire, SocketIoWire

DELIVERY = b'{"event":"message:new","data":{"content":"%s"}}'


def server_frame(payload: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, payload).serialize(mask=False)


@given(
    sizes=st.lists(st.sampled_from([0, 1, 60, 125, 126, 300, 65_535, 65_536]), max_size=8),
    data=st.data(),
)
def test_the_counter_counts_the_same_however_the_bytes_are_cut(
    sizes: list[int], data: st.DataObject
) -> None:
    payloads = [DELIVERY % (b"x" * size) for size in sizes]
    stream = b"".join(map(server_frame, payloads)) + server_frame(b"p", Opcode.PING)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    counter, others = FrameCounter(PlainWire.mark), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        others += counter.feed(stream[start:end])
    assert counter.deliveries == len(sizes)
    assert counter.delivered_bytes == len(stream) - len(server_frame(b"p", Opcode.PING))
    assert others == [(PING, b"p")]


def test_what_only_mentions_a_message_is_no_delivery() -> None:
    counter = FrameCounter(PlainWire.mark)
    answer = b'{"id":7,"ok":true,"data":{"padding":"' + b"x" * 64 + b'","message:new":1}}'
    assert counter.feed(server_frame(answer)) == [(TEXT, answer)]
    assert counter.deliveries == 0


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_masked_frame_is_read_by_an_independent_parser(size: int) -> None:
    server = Protocol(Side.SERVER, state=State.OPEN, max_size=None)
    server.receive_data(masked(b"x" * size))
    (frame,) = server.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, bytes(frame.data)) == (Opcode.TEXT, b"x" * size)


def test_the_plain_wire_reads_answers_and_keeps_itself_alive() -> None:
    wire = PlainWire()
    assert wire.answer(b'{"id":7,"ok":true,"data":{}}') == (7, None)
    assert wire.answer(b'{"id":7,"ok":false,"error":{"code":"muted"}}') == (7, "muted")
    assert wire.answer(b'{"event":"user:status","data":{}}') is None
    assert wire.is_ready(b'{"event":"connection:ready","data":{}}')
    assert wire.reply(PING, b"p") == masked(b"p", 0xA)
    assert wire.reply(TEXT, b"{}") == b""
    with pytest.raises(ConnectionError, match="closed by the server"):
        wire.reply(CLOSE, b"")


def payload_of(frame: bytes) -> bytes:
    server = Protocol(Side.SERVER, state=State.OPEN)
    server.receive_data(frame)
    (received,) = server.events_received()
    assert isinstance(received, Frame)
    return bytes(received.data)


def test_the_socket_io_wire_says_connect_when_engine_io_is_open_and_not_before() -> None:
    wire = SocketIoWire()
    head = wire.upgrade("localhost:1", "a token")
    assert head.startswith(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n")
    assert b"a token" not in head
    assert payload_of(wire.greeting(b'0{"sid":"s"}', "a token")) == b'40{"token":"a token"}'
    assert wire.greeting(b'42["connection:ready",{}]', "a token") == b""
    assert not wire.is_ready(b'0{"sid":"s"}')
    assert wire.is_ready(b'40{"sid":"s"}')
    with pytest.raises(ConnectionError, match="invalid_token"):
        wire.greeting(b'44{"message":"invalid_token"}', "a token")


def test_the_socket_io_wire_sends_events_that_ask_for_an_answer() -> None:
    wire = SocketIoWire()
    joined = payload_of(wire.join(3, "tea"))
    assert joined == b'423["session:join",{"sessionId":"tea"}]'
    sent = payload_of(wire.send(12, "tea", "hello"))
    assert sent.startswith(b'4212["message:send",')
    event, data = json.loads(sent.removeprefix(b"4212"))
    assert (event, data["sessionId"], data["content"]) == ("message:send", "tea", "hello")
    again = json.loads(payload_of(wire.send(13, "tea", "hello")).removeprefix(b"4213"))[1]
    assert again["clientMsgId"] != data["clientMsgId"]


def test_the_socket_io_wire_reads_answers_and_keeps_itself_alive() -> None:
    wire = SocketIoWire()
    assert wire.answer(b'4312[{"ok":true,"data":{}}]') == (12, None)
    assert wire.answer(b'437[{"data":{},"ok":true}]') == (7, None)
    assert wire.answer(b'437[{"ok":false,"error":{"code":"muted"}}]') == (7, "muted")
    assert wire.answer(b'42["user:status",{}]') is None
    assert wire.answer(b"2") is None
    assert payload_of(wire.reply(TEXT, b"2")) == b"3"
    assert wire.reply(TEXT, b'42["user:status",{}]') == b""
    assert wire.reply(PING, b"p") == masked(b"p", 0xA)
    for opcode, payload in ((CLOSE, b""), (TEXT, b"41")):
        with pytest.raises(ConnectionError, match="closed by the server"):
            wire.reply(opcode, payload)


def test_a_socket_io_delivery_is_counted_and_an_answer_that_holds_a_message_is_not() -> None:
    counter = FrameCounter(SocketIoWire.mark)
    delivery = b'42["message:new",{"content":"x"},"offset"]'
    answer = b'431[{"ok":true,"data":{"content":"42[\\"message:new\\""}}]'
    assert counter.feed(server_frame(delivery) + server_frame(answer)) == [(TEXT, answer)]
    assert counter.deliveries == 1


def read_head(sock: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return head


@contextmanager
def one_connection_server(answer: bytes) -> Iterator[tuple[str, int]]:
    """Answer one upgrade with these bytes, then everything with nothing."""

    def serve() -> None:
        with listener.accept()[0] as sock:
            read_head(sock)
            sock.sendall(answer)
            while sock.recv(4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            thread.join(10)


def test_a_peer_is_ready_when_the_server_says_so_and_counts_from_there() -> None:
    ready = server_frame(b'{"event":"connection:ready","data":{}}')
    answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + ready + server_frame(DELIVERY % b"x")
    with (
        one_connection_server(answer) as address,
        Swarm(PlainWire(), address) as swarm,
    ):
        (peer,) = swarm.connect(["a token"])
        swarm.pump(lambda: swarm.deliveries == 1)
        assert peer.is_ready
        assert swarm.token_of(peer) == "a token"


def test_the_time_of_the_first_thread_is_not_that_of_another() -> None:
    def spin() -> None:
        while time.thread_time() < 0.2:
            pass

    first, whole = main_thread_time(os.getpid()), cpu_seconds(os.getpid())
    thread = threading.Thread(target=spin)
    thread.start()
    thread.join()
    assert cpu_seconds(os.getpid()) - whole >= 0.2
    assert (main_thread_time(os.getpid()) - first).ran < 0.1


def test_a_refused_upgrade_is_an_error_with_the_servers_words() -> None:
    answer = b"HTTP/1.1 503 Service Unavailable\r\n\r\nfull"
    with (
        one_connection_server(answer) as address,
        Swarm(PlainWire(), address) as swarm,
        pytest.raises(ConnectionError, match=r"no upgrade.*503"),
    ):
        swarm.connect(["a token"])


# The books


def burn(seconds: float) -> None:
    deadline = time.process_time() + seconds
    while time.process_time() < deadline:
        pass


def test_the_cpu_clock_and_proc_stat_agree() -> None:
    before = cpu_seconds(os.getpid()), stat_seconds(os.getpid())
    burn(0.3)
    after = cpu_seconds(os.getpid()), stat_seconds(os.getpid())
    assert after[0] - before[0] == pytest.approx(after[1] - before[1], abs=0.05)
    assert after[0] - before[0] >= 0.3


def test_children_are_booked_apart_from_the_process_itself() -> None:
    script = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        before = cpu_seconds(os.getpid())
        child.stdout.readline()
        booked = cost(os.getpid())
        assert child.pid in descendants(os.getpid())
        assert booked.children >= 0.3
        assert booked.own - before < 0.3
        child.communicate(b"\n")
    assert child.pid not in descendants(os.getpid())


def test_resident_memory_grows_with_what_is_touched() -> None:
    size = 32 * 2**20
    before = resident_kib(os.getpid())
    with mmap.mmap(-1, size) as touched:  # what Python allocates may have been resident before
        for page in range(0, size, mmap.PAGESIZE):
            touched[page] = 1
        assert 30_000 < resident_kib(os.getpid()) - before < 40_000


# The floor and the report


def test_the_floor_is_a_few_microseconds_a_write() -> None:
    assert 0.1 < floor.measure(sockets=5, size=300, window=4, writes=2000) < 1000


def test_the_report_has_medians_rounds_and_ratios(tmp_path: Path) -> None:
    figures = [
        Figure("delivery, window 1", "CPU µs", [8.0, 6.0, 7.0]),
        Figure("floor, window 1", "CPU µs", [2.0]),
        Figure("deliveries, window 1", "1/s", [50_000.0]),
    ]
    assert ratios(figures) == {"delivery, window 1 / floor, window 1": 3.5}
    assert "7.00 CPU µs" in line(figures[0])
    assert "6.00 - 8.00" in line(figures[0])
    assert "50,000 1/s" in line(figures[2])
    write_json(tmp_path / "new" / "b.json", figures, wire="plain", frame_bytes=300)
    written = json.loads((tmp_path / "new" / "b.json").read_text())
    assert written["figures"][0]["median"] == 7.0
    assert written["ratios"] == {"delivery, window 1 / floor, window 1": 3.5}


def test_the_table_of_the_peers_sets_chatd_over_node_and_says_what_is_missed() -> None:
    rounds = {"chatd": [30.0, 10.0, 20.0], "node": [10.0]}
    name = "stored per CPU second, window 1"
    assert peers_report.ratio(rounds, "node") == 2
    assert peers_report.ratio(rounds, "python") is None
    assert peers_report.line(name, rounds, ["chatd", "node"]).endswith("2.00         -   ≥ 2  met")
    rounds["node"] = [10.1]
    assert peers_report.line(name, rounds, ["chatd", "node"]).endswith("≥ 2  MISSED")
    assert peers_report.line("connect, CPU µs", rounds, ["node"]).endswith("≤ 1  MISSED")


@pytest.mark.parametrize("options", [["--only", "dance"], ["--servers", "chatd,erlang"]])
def test_the_peers_bench_refuses_what_it_does_not_know(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert peers_main(options) == 2
    assert "unknown" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--only", "dance"], ["--url", "http://localhost:1"]])
def test_options_that_make_no_sense_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 2
    assert capsys.readouterr().out
