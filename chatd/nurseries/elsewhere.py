"""Presence across daemons: who is at which, told to all, and kept in Redis for who comes later.

Each daemon tells of its own people only: that they are there, AWAY or not, with which status, in
which sessions. Changes go out some milliseconds later, all together; whoever has missed one reads
the whole from Redis. When Redis has lost it, or has not taken a change, it is written anew, and all
others are told to read it. The grace of a lost connection is over before a daemon says that its
last device is gone; when a whole daemon leaves in order, the others wait for it in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID

import orjson
import structlog
import trio

from chatd.model import dumps
from chatd.nurseries.backplane import Backplane
from chatd.nurseries.control import Control, Message, ids_of
from chatd.nurseries.nodes import Nodes
from chatd.nurseries.presence import Presence
from chatd.nurseries.presence_elsewhere import PeopleElsewhere
from chatd.nurseries.presence_relay import PresenceRelay
from chatd.nurseries.presence_user import Manual, PresentUser, StateElsewhere
from chatd.nurseries.redis_link import RedisAway
from chatd.nurseries.window import Window
from chatd.rows import ManualStatus, PositionRow, Size
from chatd.wire.resp import ReplyError, command

TELL_AFTER = 0.05  # seconds: people come and go in crowds
AT_ONCE = 100  # people in one message
STATUSES = frozenset(get_args(ManualStatus))
WHOLE = b"whole"  # the field that says of a daemon's people that they are all there
KEY_CHARS = 32  # of a user's id as the name of a field

log = structlog.get_logger("chatd.cluster")

Entry = dict[str, Any]


class Elsewhere(PresenceRelay):
    """Keeps `PresenceRelay`, and hears what the others' do; `window.run` is a task.

    Args:
        backplane: whose link keeps this daemon's people in Redis.
        control: by which the others are told.
        nodes: names where people are kept.

    Attributes:
        on_whole: told the tag of a daemon whose people are to be read.
        on_untold: told that this daemon's people are to be written down anew.
    """

    def __init__(
        self,
        backplane: Backplane,
        control: Control,
        nodes: Nodes,
        presence: Presence,
        people: PeopleElsewhere,
    ) -> None:
        self._backplane = backplane
        self._control = control
        self._nodes = nodes
        self._presence = presence
        self._people = people
        self.on_positions: Callable[[Iterable[PositionRow]], None]
        self.on_whole: Callable[[str], None]
        self.on_untold: Callable[[], None]
        self._reading: dict[str, set[UUID]] = {}  # by tag, of whom something was heard meanwhile
        self._told: dict[UUID, tuple[Entry, frozenset[UUID]]] = {}
        self.window: Window[UUID, PresentUser] = Window(TELL_AFTER, self._tell)
        for kind, hear in {
            "people": self._heard_people,
            "opened": self._heard_opened,
            "left": self._heard_left,
            "manual": self._heard_manual,
            "around": self._heard_around,
            "account": self._heard_account,
            "whole": self._heard_whole,
            "untold": self._heard_untold,
        }.items():
            control.on(kind, hear)

    # Telling; see `PresenceRelay`

    def stands(self, positions: Iterable[PositionRow]) -> None:
        """Take note of how far somebody's sessions are."""
        self.on_positions(positions)

    def placed(self, user: PresentUser) -> None:
        """Tell soon in which sessions a user is seen."""
        if user.devices:
            self.window.put(user.id, user)

    def changed(self, user: PresentUser) -> None:
        """Tell soon how a user is."""
        self.window.put(user.id, user)

    def gone(self, user: PresentUser) -> None:
        """Tell soon that a user is here no more."""
        self.window.put(user.id, user)

    def opened(self, session_id: UUID, user_ids: Sequence[UUID], size: Size | None) -> None:
        """Tell that users share a session."""
        self._control.say("opened", s=session_id, u=user_ids, m=size and [*size])

    def left(self, session_id: UUID, user_id: UUID, size: Size | None) -> None:
        """Tell that a user shares it no more."""
        self._control.say("left", s=session_id, u=user_id, m=size and [*size])

    def manual(self, user_id: UUID, manual: Manual) -> None:
        """Tell of a status, also of a user who is somewhere else only."""
        self._control.say("manual", u=user_id, **_manual_fields(manual))

    def announced(self, user_id: UUID, sessions: Sequence[UUID], name: str, data: bytes) -> None:
        """Tell those around a user who are elsewhere."""
        self._control.say("around", u=user_id, s=sessions, e=name, d=orjson.Fragment(data))

    def account_opened(self) -> None:
        """Tell that there is one account more."""
        self._control.mention("account")

    async def _tell(self, users: dict[UUID, PresentUser]) -> None:
        changed: list[tuple[UUID, Entry | None, frozenset[UUID] | None]] = []
        seen: dict[UUID, datetime | None] = {}
        for user_id, user in users.items():
            known = self._told.get(user_id)
            if not user.devices and user.in_grace:
                continue  # the others are not to hear of a connection that may come back
            if not user.devices:
                if known is not None:
                    del self._told[user_id]
                    changed.append((user_id, None, None))
                    seen[user_id] = user.last_seen
                continue
            entry, sessions = _entry(user), frozenset(user.sessions)
            if known is None or known[1] != sessions:
                changed.append((user_id, entry, sessions))
            elif known[0] != entry:
                changed.append((user_id, entry, None))
            self._told[user_id] = entry, sessions
        for start in range(0, len(changed), AT_ONCE):
            part = changed[start : start + AT_ONCE]
            self._keep(part)
            rows = [[*_row(*each), _seconds(seen.get(each[0]))] for each in part]
            self._control.say("people", p=rows)
            await trio.lowlevel.checkpoint()

    def _keep(self, part: Iterable[tuple[UUID, Entry | None, frozenset[UUID] | None]]) -> None:
        """Write down in Redis what is told."""
        link, commands = self._backplane.link, self._written(part)
        if not link.send(b"".join(commands), answers=len(commands)) and link.is_up:
            self.on_untold()  # the buffer is full: whoever reads it would believe what was before

    def _written(
        self, part: Iterable[tuple[UUID, Entry | None, frozenset[UUID] | None]]
    ) -> list[bytes]:
        """Return the commands that write people down: two fields each, for sessions are long."""
        name = self._nodes.people_of(self._nodes.tag)
        commands: list[bytes] = []
        for user_id, entry, sessions in part:
            key = user_id.hex
            if entry is None:
                commands.append(command("HDEL", name, key, key + "s"))
            else:
                commands.append(command("HSET", name, key, dumps(entry)))
            if sessions is not None:
                commands.append(command("HSET", name, key + "s", _packed(sessions)))
        return commands

    async def tell_all(self) -> None:
        """Write down everybody anew, and have the others read it.

        Raises:
            RedisAway: it is not all written; who reads it meanwhile believes what was before.
        """
        ask, name = self._backplane.link.ask, self._nodes.people_of(self._nodes.tag)
        people, refused = list(self._told), False
        for start in range(0, len(people), AT_ONCE):
            part = [
                (each, *self._told[each])
                for each in people[start : start + AT_ONCE]
                if each in self._told
            ]
            refused |= _is_refused(await ask(*self._written(part)))
        [keys] = await ask(command("HKEYS", name))
        if refused or isinstance(keys, ReplyError):
            return
        there = {user_id.hex.encode("ascii") for user_id in self._told}
        strays = [key for key in keys if key != WHOLE and key[:KEY_CHARS] not in there]
        forget = [command("HDEL", name, *strays)] if strays else []
        if not _is_refused(await ask(*forget, command("HSET", name, WHOLE, 1))):
            self._control.say("whole")

    # Hearing

    def _heard_people(self, tag: str, message: Message) -> None:
        for row in message["p"]:
            user_id, entry = UUID(row[0]), row[1]
            self._reading.get(tag, set()).add(user_id)
            if entry is None:
                self._people.take_away(user_id, tag, _time(row[3]))
            else:
                self._place(tag, user_id, entry, None if row[2] is None else _unpacked(row[2]))

    def _place(
        self, tag: str, user_id: UUID, entry: Mapping[str, Any], sessions: set[UUID] | None
    ) -> None:
        self._people.place(
            user_id,
            tag,
            StateElsewhere(is_away=bool(entry["a"])),
            sessions=sessions,
            last_seen=_time(entry["l"]),
            manual=_manual_of(entry),
        )

    def _heard_opened(self, tag: str, message: Message) -> None:
        del tag
        self._presence.opened_anywhere(UUID(message["s"]), ids_of(message["u"]), _size(message))

    def _heard_left(self, tag: str, message: Message) -> None:
        del tag
        self._presence.left_anywhere(UUID(message["s"]), UUID(message["u"]), _size(message))

    def _heard_manual(self, tag: str, message: Message) -> None:
        del tag
        self._people.set_manual(UUID(message["u"]), _manual_of(message))

    def _heard_around(self, tag: str, message: Message) -> None:
        del tag
        user_id, sessions = UUID(message["u"]), ids_of(message["s"])
        self._presence.announce_here(user_id, sessions, str(message["e"]), dumps(message["d"]))

    def _heard_account(self, tag: str, message: Message) -> None:
        del tag, message
        self._presence.account_opened_anywhere()

    def _heard_whole(self, tag: str, message: Message) -> None:
        del message
        self.on_whole(tag)

    def _heard_untold(self, tag: str, message: Message) -> None:
        del tag, message
        self.on_untold()

    # The whole

    async def read(self, tag: str) -> None:
        """Bring what is known of a daemon's people to what it has written down.

        Raises:
            RedisAway: nobody can tell.
        """
        heard = self._reading[tag] = set()
        try:
            [fields] = await self._backplane.link.ask(
                command("HGETALL", self._nodes.people_of(tag))
            )
            if isinstance(fields, ReplyError):
                raise RedisAway
            if WHOLE in fields:
                await self._place_all(tag, fields, heard)
            else:  # it does not know that Redis has lost it: what is known stays until it does
                self._control.say_to(tag, "untold")
        finally:
            self._reading.pop(tag, None)

    async def _place_all(self, tag: str, fields: Mapping[bytes, bytes], heard: set[UUID]) -> None:
        """Take a daemon's people as they were read, but of whom something newer was heard."""
        there: set[UUID] = set()
        for number, (key, value) in enumerate(fields.items(), 1):
            if len(key) == KEY_CHARS:
                try:
                    user_id, sessions = (
                        UUID(key.decode()),
                        _unpacked(fields.get(key + b"s", b"").decode()),
                    )
                    if user_id not in heard:
                        self._place(tag, user_id, orjson.loads(value), sessions)
                    there.add(user_id)
                except (ValueError, KeyError, TypeError, OverflowError) as trouble:
                    log.warning("not a person", tag=tag, why=repr(trouble))
            if number % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
                if self._reading.get(tag) is not heard:
                    return  # it has died meanwhile
        self._drop(tag, None, there | heard)

    def forget(self, tag: str, last_seen: datetime | None) -> list[UUID]:
        """Take a daemon's people away; return who they were."""
        self._reading.pop(tag, None)
        return self._drop(tag, last_seen, set())

    def _drop(self, tag: str, last_seen: datetime | None, but: set[UUID]) -> list[UUID]:
        people = [user_id for user_id in self._people.people_of(tag) if user_id not in but]
        for user_id in people:
            self._people.take_away(user_id, tag, last_seen)
        return people


def _is_refused(answers: Iterable[object]) -> bool:
    """Return whether Redis has not taken what was to be written, and say so."""
    refusals = [str(each) for each in answers if isinstance(each, ReplyError)]
    if refusals:
        log.warning("people are not written down", error=refusals[0])
    return bool(refusals)


def _entry(user: PresentUser) -> Entry:
    manual = Manual(user.manual, user.text, user.until, user.manual_at)
    return {"a": user.is_away, "l": _seconds(user.last_seen), **_manual_fields(manual)}


def _manual_fields(manual: Manual) -> Entry:
    until = _seconds(manual.until)
    return {"ms": manual.status, "mt": manual.text, "mu": until, "at": manual.at}


def _manual_of(entry: Mapping[str, Any]) -> Manual:
    status = entry["ms"]
    if status is not None and status not in STATUSES:
        raise ValueError(status)
    return Manual(status, entry["mt"], _time(entry["mu"]), float(entry["at"]))


def _size(message: Message) -> Size | None:
    return None if message["m"] is None else Size(*map(int, message["m"]))


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _row(user_id: UUID, entry: Entry | None, sessions: frozenset[UUID] | None) -> list[Any]:
    return [user_id, entry, None if sessions is None else _packed(sessions)]


def _packed(ids: Iterable[UUID]) -> str:
    return "".join(each.hex for each in ids)


def _unpacked(text: str) -> set[UUID]:
    return {UUID(text[at : at + 32]) for at in range(0, len(text), 32)}
