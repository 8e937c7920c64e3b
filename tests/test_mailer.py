"""The queue of letters: bounded, patient, never silent; on a mock clock, with a scripted outlet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import Overloaded, StoreBug, StoreUnavailable
from chatd.letters import Letter
from chatd.mail_settings import Sender
from chatd.metrics import Metrics
from chatd.nurseries.mailer import FINISH_TIMEOUT, JITTER, PAUSES, WORKERS, Mailer, open_mailer
from chatd.nurseries.smtp import RefusedError, UndeliveredError

HOUR = 3600.0


class Outlet:
    """Takes letters, unless it is told not to; those of `hangs` when `free` is set."""

    def __init__(self, *script: Exception) -> None:
        self.script = list(script)
        self.hangs = set[str]()
        self.taken: list[tuple[float, Letter, EmailMessage]] = []
        self.tries: list[float] = []
        self.seen: list[str] = []
        self.free = trio.Event()

    async def hand_over(self, letter: Letter, message: EmailMessage) -> None:
        self.tries.append(trio.current_time())
        self.seen.append(str(message["Message-ID"]))
        await trio.lowlevel.checkpoint()
        if self.script:
            raise self.script.pop(0)
        if letter.to in self.hangs:
            await self.free.wait()
        self.taken.append((trio.current_time(), letter, message))


class Post:
    """A mailer under test."""

    def __init__(self, mailer: Mailer, metrics: Metrics) -> None:
        self.mailer = mailer
        self._metrics = metrics

    def send(self, to: str = "ann@example.org", lifetime: float = HOUR) -> None:
        async def write() -> Letter:
            await trio.lowlevel.checkpoint()
            return Letter("password_changed", to, "subject", "text")

        self.mailer.post("password_changed", write, lifetime=lifetime)

    def count(self, outcome: str) -> float:
        labels = {"outcome": outcome}
        return self._metrics.registry.get_sample_value("chatd_mails_total", labels) or 0


@asynccontextmanager
async def open_post(outlet: Outlet, queue: int = 10) -> AsyncIterator[Post]:
    metrics = Metrics()
    sender = Sender("chatd", "chatd@example.org")
    async with open_mailer(
        outlet.hand_over,
        sender,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        metrics=metrics,
        queue=queue,
    ) as mailer:
        yield Post(mailer, metrics)


async def test_what_is_not_taken_is_tried_again_after_growing_pauses_as_the_same_mail(
    mock_clock: MockClock,
) -> None:
    outlet = Outlet(*[UndeliveredError("451 later")] * 7)
    async with open_post(outlet) as post:
        post.send(lifetime=24 * HOUR)
        await wait_all_tasks_blocked()
        for pause in (*PAUSES, PAUSES[-1], PAUSES[-1]):
            tried = len(outlet.tries)
            mock_clock.jump(pause * (1 - JITTER) - 0.1)
            await wait_all_tasks_blocked()
            assert len(outlet.tries) == tried
            mock_clock.jump(pause * 2 * JITTER + 0.2)
            await wait_all_tasks_blocked()
            assert len(outlet.tries) == tried + 1
        assert len(outlet.taken) == 1
        assert len(set(outlet.seen)) == 1
        assert (post.count("retried"), post.count("sent"), post.count("lost")) == (7, 1, 0)


async def test_a_letter_that_is_worth_nothing_any_more_is_lost_and_that_is_said(
    autojump_clock: MockClock,
) -> None:
    outlet = Outlet(*[UndeliveredError("no answer")] * 100)
    with capture_logs() as logs:
        async with open_post(outlet) as post:
            post.send(lifetime=900)
            await trio.sleep(2 * HOUR)
            assert post.count("lost") == 1
            assert all(at < 900 for at in outlet.tries)
            assert len(outlet.tries) > 3
    [lost] = [entry for entry in logs if entry["event"] == "mail lost"]
    assert lost["log_level"] == "warning"
    assert (lost["kind"], lost["error"]) == ("password_changed", "no answer")
    assert "ann@example.org" not in str(logs)


async def test_what_is_refused_for_ever_is_not_tried_again(autojump_clock: MockClock) -> None:
    outlet = Outlet(RefusedError("550 no such mailbox"))
    with capture_logs() as logs:
        async with open_post(outlet) as post:
            post.send()
            await trio.sleep(2 * HOUR)
            assert (len(outlet.tries), post.count("lost")) == (1, 1)
    assert [entry["error"] for entry in logs if entry["event"] == "mail lost"] == [
        "550 no such mailbox"
    ]


async def test_a_few_letters_hang_and_a_free_worker_takes_the_next(
    mock_clock: MockClock,
) -> None:
    outlet = Outlet()
    outlet.hangs = {f"{number}@example.org" for number in range(WORKERS - 1)}
    async with open_post(outlet) as post:
        for number in range(WORKERS + 3):
            post.send(f"{number}@example.org")
        await wait_all_tasks_blocked()
        told = [letter.to for _, letter, _ in outlet.taken]
        assert told == [f"{number}@example.org" for number in range(WORKERS - 1, WORKERS + 3)]
        outlet.free.set()
        await wait_all_tasks_blocked()
        assert len(outlet.taken) == WORKERS + 3


async def test_beyond_the_queue_a_letter_is_refused_and_that_is_counted(
    mock_clock: MockClock,
) -> None:
    outlet = Outlet()
    outlet.hangs = {"ann@example.org"}
    async with open_post(outlet, queue=5) as post:
        for _ in range(5):
            post.send()
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded) as refusal:
            post.send()
        assert refusal.value.retry_after
        assert post.count("refused") == 1
        outlet.free.set()
        await wait_all_tasks_blocked()
        post.send()
        await wait_all_tasks_blocked()
        assert len(outlet.taken) == 6


async def test_letters_that_pause_take_room_too(mock_clock: MockClock) -> None:
    outlet = Outlet(*[UndeliveredError("later")] * 2)
    async with open_post(outlet, queue=2) as post:
        post.send()
        post.send()
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            post.send()


async def test_a_letter_is_written_again_while_the_store_is_away(
    autojump_clock: MockClock,
) -> None:
    outlet, written = Outlet(), 0

    async def write() -> Letter:
        nonlocal written
        await trio.lowlevel.checkpoint()
        written += 1
        if written < 3:
            raise StoreUnavailable("away")
        return Letter("password_reset", "ann@example.org", "subject", "text")

    async with open_post(outlet) as post:
        post.mailer.post("password_reset", write, lifetime=HOUR)
        await trio.sleep(HOUR)
        assert (written, len(outlet.taken)) == (3, 1)


async def test_where_there_is_nothing_to_write_nothing_is_sent_or_counted(
    autojump_clock: MockClock,
) -> None:
    outlet = Outlet()

    async def write() -> None:
        await trio.lowlevel.checkpoint()

    async with open_post(outlet) as post:
        post.mailer.post("password_reset", write, lifetime=HOUR)
        await trio.sleep(HOUR)
        assert outlet.tries == []
        assert [post.count(each) for each in ("sent", "lost", "retried")] == [0, 0, 0]


@pytest.mark.parametrize("bug", [ZeroDivisionError("bug"), StoreBug("bug")])
async def test_a_bug_in_one_letter_is_logged_and_costs_that_letter_alone(
    autojump_clock: MockClock, bug: Exception
) -> None:
    outlet = Outlet()

    async def write() -> Letter:
        await trio.lowlevel.checkpoint()
        raise bug

    with capture_logs() as logs:
        async with open_post(outlet) as post:
            post.mailer.post("password_reset", write, lifetime=HOUR)
            post.send()
            await trio.sleep(HOUR)
            assert (len(outlet.taken), post.count("lost")) == (1, 1)
    assert [each["exc_info"] for each in logs if each["log_level"] == "error"] == [bug]


async def test_an_address_that_would_be_two_header_lines_is_never_sent(
    autojump_clock: MockClock,
) -> None:
    outlet = Outlet()
    with capture_logs() as logs:
        async with open_post(outlet) as post:
            post.send("ann@example.org\r\nBcc: all@example.org")
            await trio.sleep(1)
            assert outlet.tries == []
            assert post.count("lost") == 1
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["bug"]


async def test_at_the_stop_what_waits_is_tried_once_more(mock_clock: MockClock) -> None:
    outlet = Outlet(UndeliveredError("later"), UndeliveredError("later"))
    async with open_post(outlet) as post:
        post.send("one@example.org")
        post.send("two@example.org")
        await wait_all_tasks_blocked()
        assert outlet.taken == []
    assert sorted(letter.to for _, letter, _ in outlet.taken) == [
        "one@example.org",
        "two@example.org",
    ]


@pytest.mark.parametrize(
    ("script", "seconds", "why"),
    [
        ([UndeliveredError("first"), UndeliveredError("second")], 0, "second"),
        ([], FINISH_TIMEOUT, "the daemon stops"),
    ],
)
async def test_at_the_stop_what_is_refused_again_or_hangs_is_lost_in_time_and_that_is_said(
    autojump_clock: MockClock, script: list[Exception], seconds: float, why: str
) -> None:
    outlet = Outlet(*script)
    outlet.hangs = {"ann@example.org"}
    with capture_logs() as logs:
        async with open_post(outlet) as post:
            post.send()
            await wait_all_tasks_blocked()
            begun = trio.current_time()
        assert trio.current_time() - begun == seconds
        assert post.count("lost") == 1
    assert [entry["error"] for entry in logs if entry["event"] == "mail lost"] == [why]


async def test_nothing_is_taken_any_more_when_the_daemon_stops(mock_clock: MockClock) -> None:
    async with open_post(Outlet()) as post:
        pass
    with pytest.raises(Overloaded):
        post.send()
