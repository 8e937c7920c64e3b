"""Recovery: whose state is kept and for how long, and where a client that comes back stands."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chatd.nurseries import recovery
from chatd.nurseries.chat_recovery import ChatState, offset_of, state_from_json
from chatd.nurseries.recovery import FEUD, Recoveries, new_pid
from chatd.nurseries.seat import Run, Trail

ANNA, BERT = uuid4(), uuid4()
SECONDS = 120.0


class Holder:
    """A live connection whose state is its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.surrenders = 0

    def has_told(self, offset: object) -> bool:
        return offset == self.name

    def surrender(self) -> str:
        self.surrenders += 1
        return self.name


async def test_a_state_is_kept_for_its_seconds_and_not_longer(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    for pid in ("one", "two"):
        recoveries.opened(pid, ANNA, holder := Holder(pid))
        recoveries.closed(pid, holder, pid)
    mock_clock.jump(SECONDS - 0.1)
    assert [pid for pid, _ in recoveries.saved()] == ["one", "two"]
    assert recoveries.claim("one", ANNA, None) == "one"
    mock_clock.jump(0.1)
    assert recoveries.claim("two", ANNA, None) is None
    assert list(recoveries.saved()) == []


async def test_a_state_is_given_once(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.save("pid", ANNA, "tea")
    assert recoveries.claim("pid", ANNA, None) == "tea"
    assert recoveries.claim("pid", ANNA, None) is None


async def test_a_state_is_for_its_owner_alone_and_stays_for_him(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.save("pid", ANNA, "tea")
    assert recoveries.claim("pid", BERT, None) is None
    assert recoveries.claim("pid", ANNA, None) == "tea"


async def test_a_live_connection_is_taken_over_by_its_owner_alone(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.opened("pid", ANNA, holder := Holder("tea"))
    assert recoveries.claim("pid", BERT, None) is None
    assert holder.surrenders == 0
    assert recoveries.claim("pid", ANNA, None) == "tea"
    assert holder.surrenders == 1
    recoveries.closed("pid", holder, "late")  # it is no longer its
    assert recoveries.claim("pid", ANNA, None) is None


async def test_a_connection_that_may_not_come_back_leaves_no_state(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.opened("pid", ANNA, holder := Holder("tea"))
    recoveries.closed("pid", holder, None)
    assert recoveries.claim("pid", ANNA, None) is None


async def test_an_older_connection_does_not_end_the_newer_one(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.opened("pid", ANNA, old := Holder("old"))
    recoveries.opened("pid", ANNA, Holder("new"))
    recoveries.closed("pid", old, "old")
    assert list(recoveries.saved()) == []
    assert recoveries.claim("pid", ANNA, None) == "new"


async def test_two_that_take_each_other_over_are_stopped_for_a_while(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.opened("pid", ANNA, Holder("first"))
    assert recoveries.claim("pid", ANNA, None) == "first"
    recoveries.opened("pid", ANNA, second := Holder("second"))
    mock_clock.jump(FEUD - 0.1)
    assert recoveries.claim("pid", ANNA, "first") is None
    assert second.surrenders == 0
    mock_clock.jump(0.1)
    assert recoveries.claim("pid", ANNA, "first") == "second"


async def test_who_has_heard_the_newer_connection_takes_it_over_at_once(
    mock_clock: MockClock,
) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.opened("pid", ANNA, Holder("first"))
    assert recoveries.claim("pid", ANNA, "first") == "first"
    recoveries.opened("pid", ANNA, Holder("second"))
    assert recoveries.claim("pid", ANNA, "second") == "second"


async def test_a_connection_that_goes_by_itself_ends_the_feud(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.opened("pid", ANNA, Holder("first"))
    recoveries.claim("pid", ANNA, None)
    recoveries.opened("pid", ANNA, second := Holder("second"))
    recoveries.closed("pid", second, "second")
    assert recoveries.claim("pid", ANNA, None) == "second"
    recoveries.opened("pid", ANNA, Holder("third"))
    assert recoveries.claim("pid", ANNA, None) == "third"


async def test_the_oldest_of_too_many_states_are_forgotten(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "MAX_SAVED", 3)
    recoveries = Recoveries[str](SECONDS)
    for pid in "abcd":
        recoveries.save(pid, ANNA, pid)
    assert "".join(pid for pid, _ in recoveries.saved()) in {"bcd", "cd"}
    assert recoveries.claim("a", ANNA, None) is None


async def test_a_state_that_is_saved_again_is_as_young_as_the_newest(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.save("a", ANNA, "tea")
    mock_clock.jump(SECONDS - 1)
    recoveries.save("b", ANNA, "pot")
    recoveries.save("a", ANNA, "tea")
    mock_clock.jump(2)
    assert recoveries.claim("b", ANNA, None) == "pot"
    assert recoveries.claim("a", ANNA, None) == "tea"


async def test_what_is_old_is_dropped_behind_what_was_saved_again(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](SECONDS)
    recoveries.save("again", ANNA, "tea")
    mock_clock.jump(1)
    recoveries.save("old", ANNA, "pot")
    mock_clock.jump(SECONDS - 1.5)
    recoveries.save("again", ANNA, "tea")
    mock_clock.jump(2)
    assert recoveries.claim("old", ANNA, None) is None
    assert [pid for pid, _ in recoveries.saved()] == ["again"]
    assert trio.current_time() > SECONDS


def test_a_pid_has_120_random_bits_at_least() -> None:
    pids = {new_pid() for _ in range(100)}
    assert len(pids) == 100
    assert all(len(pid) * 6 >= 120 for pid in pids)


# Where a client stands

ROOMS = [UUID(int=number) for number in range(1, 5)]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from(ROOMS), st.integers(1, 4)),
        st.tuples(st.just("join"), st.sampled_from(ROOMS), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.sampled_from(ROOMS), st.just(0)),
    ),
    max_size=40,
)


class Model:
    """A connection, and what its client has after each event that it was sent.

    `views` has one entry for each moment a client may have stopped at: the offset that it
    remembers, and up to where it has each session. A recovery answers like a join: its catch-up
    is in the trail as runs.
    """

    def __init__(self, bound: int, origin: str | None) -> None:
        self.bound = bound
        self.trail = Trail()
        self.origin = origin
        self.positions: dict[UUID, int] = {}
        self.views: list[tuple[str | None, dict[UUID, int]]] = []
        self.joins: dict[UUID, tuple[int, int]] = {}  # the view that follows, the first position
        self.mark = 7
        self._append(Run(None, self.mark, self.mark))
        self._see(offset_of(None, self.mark))

    def _append(self, run: Run) -> None:
        self.trail.append(run)
        if len(self.trail) > self.bound:
            del self.trail[0]  # as `trim`, sooner
            self.trail.is_whole = False

    def _see(self, offset: str) -> None:
        self.views.append((offset, dict(self.positions)))

    def run(self, room: UUID, count: int) -> None:
        """Send some events of a session in one piece."""
        if room not in self.positions:
            return
        first = self.positions[room] + 1
        self._append(Run(room, first, first + count - 1))
        for seq in range(first, first + count):
            self.positions[room] = seq
            self._see(offset_of(room, seq))

    def join(self, room: UUID, ahead: int) -> None:
        """Answer a join with all that there is: the ack tells the position, no event does."""
        if room in self.positions:
            return
        seen = [view[1][room] for view in self.views if room in view[1]]
        self.positions[room] = max(seen, default=0) + ahead
        self.joins[room] = len(self.views), self.positions[room]

    def leave(self, room: UUID, _: int) -> None:
        """Leave a session."""
        self.positions.pop(room, None)
        self.joins.pop(room, None)

    @property
    def state(self) -> ChatState:
        """What the connection leaves behind."""
        return ChatState("id", UUID(int=9), dict(self.positions), self.trail, self.origin)


def both(state: ChatState, offset: str | None) -> dict[UUID, int] | None:
    """Return where a client stands; the same before and after a stay in the store."""
    positions = state.positions_at(offset)
    assert state_from_json(state.to_json()).positions_at(offset) == positions
    return positions


@given(steps, st.integers(1, 12))
def test_a_client_stands_where_its_last_offset_says_or_it_cannot_be_told(
    story: list[tuple[str, UUID, int]], bound: int
) -> None:
    model = Model(bound, None)
    for what, room, count in story:
        getattr(model, what)(room, count)
    remembered = sum(run.last - run.first + 1 for run in model.trail)
    for index, (offset, seen) in enumerate(model.views):
        positions = both(model.state, offset)
        if index < len(model.views) - remembered:
            assert positions is None
            continue
        assert positions is not None
        assert positions.keys() == model.positions.keys()
        for room, (joined_at, start) in model.joins.items():
            if index >= joined_at:
                assert positions[room] == seen[room]
                continue
            # Joined later: it may not have got the answer, and no event of before is skipped.
            views = model.views[index + 1 :]
            later = [view[room] - 1 for at, view in views if str(at).startswith(str(room))]
            assert positions[room] <= min([start, *later])


@given(steps, st.sampled_from([None, "0:5", offset_of(ROOMS[0], 3)]))
def test_a_client_that_got_nothing_stands_where_the_connection_began_while_all_is_remembered(
    story: list[tuple[str, UUID, int]], origin: str | None
) -> None:
    model = Model(1000, origin)
    model.positions = dict.fromkeys(ROOMS[:2], 3)
    model.views = [(None, dict(model.positions))]
    for what, room, count in story:
        if what == "run":
            model.run(room, count)
    if origin is not None and any(offset == origin for offset, _ in model.views):
        return
    assert both(model.state, origin) == dict.fromkeys(ROOMS[:2], 3)
    assert both(model.state, "1:1") is None


@given(steps)
def test_a_trail_that_has_overflowed_tells_nothing_of_its_beginning(
    story: list[tuple[str, UUID, int]],
) -> None:
    model = Model(1, "0:5")
    for what, room, count in story:
        getattr(model, what)(room, count)
    model.positions = dict.fromkeys(ROOMS, 50)
    model.run(ROOMS[0], 2)
    assert both(model.state, "0:5") is None
    assert both(model.state, offset_of(None, model.mark)) is None


@pytest.mark.parametrize(
    "offset",
    [
        "",
        ":",
        "0",
        "0:",
        ":7",
        "0:-7",
        "0:7.0",
        "0:\u0667",
        "tea:7",
        "0:" + "7" * 20,
        "7:0",
        "0:8",
        f"{ROOMS[0]}:99",
        f"{UUID(int=77)}:1",
        "\ud83d:1",
    ],
)
def test_an_offset_that_was_never_sent_tells_nothing(offset: str) -> None:
    model = Model(10, None)
    model.join(ROOMS[0], 3)
    model.run(ROOMS[0], 2)
    assert both(model.state, offset) is None


def test_a_session_that_was_left_still_tells_the_place_in_the_others() -> None:
    model = Model(10, None)
    for room in ROOMS[:2]:
        model.join(room, 0)
    model.run(ROOMS[0], 2)
    model.run(ROOMS[1], 1)
    model.run(ROOMS[0], 3)
    model.leave(ROOMS[1], 0)
    assert both(model.state, offset_of(ROOMS[1], 1)) == {ROOMS[0]: 2}
