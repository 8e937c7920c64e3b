"""The conversation: lines typed become commands and messages, what happens becomes lines."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from chatd.client import (
    Change,
    Client,
    ClientError,
    Disconnected,
    Follower,
    Item,
    Joined,
    JsonObject,
    Removed,
    Signal,
)
from chatd.client.nursery import open_private_nursery
from chatd.terminal.commands import COMMANDS, UsageError
from chatd.terminal.text import message_lines, one_line, session_line, short

SHOWN_MESSAGES = 20  # of the page that a join answers
OUTBOX_LINES = 256  # typed and not yet stored; more than anybody types offline
OPEN_TIMEOUT = 20.0  # seconds for a session to open, reconnecting included
FINISH_TIMEOUT = 10.0  # seconds at the end for what was typed and not yet stored


class Chat:
    """One person's session at the terminal. Commands are in `chatd.terminal.commands`."""

    def __init__(
        self, client: Client, follower: Follower, show: Callable[[str], Awaitable[None]]
    ) -> None:
        self.client = client
        self.follower = follower
        self.show = show
        self.session_id: str | None = None
        self.title = ""
        self.names: dict[str, str] = {}
        self.status: dict[str, str] = {}
        self._listed: list[JsonObject] = []
        self._is_lost = False
        self._exit_code = 0
        self._reading = trio.CancelScope()
        self._screen = trio.Lock()  # a session's page is shown before what happens in it
        self._typed, self._outbox = trio.open_memory_channel[tuple[str, str]](OUTBOX_LINES)
        self._is_sent = trio.Event()
        self._read_seq = 0
        self._has_read = trio.Event()

    @property
    def own_id(self) -> str:
        """The id of who sits here."""
        return str((self.client.user or {}).get("id", ""))

    async def run(self, lines: trio.MemoryReceiveChannel[str], session: str | None) -> int:
        """Chat until the lines end, `/quit`, or the server says to stay away."""
        async with open_private_nursery() as nursery:
            for task in (self._watch, self._deliver, self._mark_read):
                nursery.start_soon(task)
            with self._reading:
                await self._attempt(f"/open {session}" if session else "/sessions")
                async for line in lines:
                    if line.strip() == "/quit":
                        break
                    await self._attempt(line)
            self._typed.close()
            with trio.move_on_after(FINISH_TIMEOUT):
                await self._is_sent.wait()
        left = self._outbox.statistics().current_buffer_used + (not self._is_sent.is_set())
        if left and not self._exit_code:
            await self.show(f"{left} of your lines could not be sent")
            return 1
        return self._exit_code

    # What is typed

    async def _attempt(self, line: str) -> None:
        """Do what a line says; whatever is wrong with it becomes a line too."""
        try:
            await self._obey(line)
        except UsageError as error:
            await self.show(str(error))
        except ClientError as error:
            await self.show(f"that failed: {one_line(error.message)}")

    async def _obey(self, line: str) -> None:
        if line.startswith("/"):
            word, _, argument = line[1:].strip().partition(" ")
            if word not in COMMANDS:
                raise UsageError(f"there is no /{one_line(word)}; /help lists what there is")
            await COMMANDS[word].run(self, argument.strip())
        elif not line.strip():
            return
        elif self.session_id is not None:
            await self._say(self.session_id, line)
        elif line.strip().isdecimal():
            await self.open(self.pick(line.strip()))
        else:
            raise UsageError("no session is open: type its number, or /new NAME")

    async def _say(self, session_id: str, line: str) -> None:
        try:
            self._typed.send_nowait((session_id, line))
        except trio.WouldBlock:
            raise UsageError("too many lines wait to be sent; this one was not kept") from None
        if not self.follower.is_connected:
            await self.show("(offline: it goes out once the connection is back)")

    async def _deliver(self) -> None:
        """Send what was typed, in its order, however long the network is away."""
        async for session_id, line in self._outbox:
            try:
                await self.follower.send(session_id, line)
            except ClientError as error:
                await self.show(f"not sent ({one_line(error.message)}): {one_line(line)}")
        self._is_sent.set()

    # Sessions

    async def list_sessions(self) -> None:
        """Show the sessions with their numbers."""
        self._listed = await self.client.sessions()
        if not self._listed:
            await self.show("no sessions yet: /new NAME makes one, /join ID enters a public one")
        for number, session in enumerate(self._listed, 1):
            await self.show(session_line(number, session, await self._title_of(session)))

    def pick(self, wanted: str) -> str:
        """Return the id of a listed session by its number or name, else what was asked for."""
        if wanted.isdecimal() and 0 < int(wanted) <= len(self._listed):
            return str(self._listed[int(wanted) - 1]["id"])
        for session in self._listed:
            if session.get("name") == wanted:
                return str(session["id"])
        return wanted

    async def open(self, session_id: str) -> None:
        """Show a session and everything that happens in it from now on."""
        async with self._screen:
            with trio.move_on_after(OPEN_TIMEOUT) as open_scope:
                session = await self.client.session(session_id)
                self.title = await self._title_of(session)
                joined = await self.follower.join(session_id)
            if open_scope.cancelled_caught:
                raise UsageError(f"no answer within {OPEN_TIMEOUT:.0f} s; try again")
            before, self.session_id = self.session_id, session_id
            self._learn(joined)
            await self.show(f"--- {self.title} ({len(self.names)} members) ---")
            await self._show_page(joined)
        if before not in {None, session_id}:
            await self.follower.leave(str(before))

    async def _title_of(self, session: JsonObject) -> str:
        if session.get("name"):
            return one_line(session["name"])
        others = await self.client.members(str(session["id"]))
        names = [
            one_line(user.get("name"))
            for user in (member.get("user", {}) for member in others)
            if user.get("id") != self.own_id
        ]
        return ", ".join(names) or short(session["id"])

    def _learn(self, joined: Joined) -> None:
        members = [member.get("user", {}) for member in joined.data.get("members", [])]
        self.names = {str(user.get("id")): one_line(user.get("name")) for user in members}
        presence = joined.data.get("presence", [])
        self.status = {str(one.get("userId")): str(one.get("status")) for one in presence}

    async def _show_page(self, joined: Joined) -> None:
        for message in joined.messages[-SHOWN_MESSAGES:]:
            await self.show(message_lines(message))
        self._note_read(joined.position.seq)

    # What happens

    async def _watch(self) -> None:
        try:
            async for item in self.follower:
                async with self._screen:
                    await self._tell(item)
        except ClientError as error:
            await self.show(f"the server ended it: {one_line(error.message)}")
            self._exit_code = 1
            self._is_sent.set()  # never, that is
            self._reading.cancel()

    async def _tell(self, item: Item) -> None:
        if isinstance(item, Change):
            await self._tell_change(item)
        elif isinstance(item, Signal):
            await self._tell_signal(item.event, item.data)
        elif isinstance(item, Disconnected):
            what = "still no connection" if self._is_lost else "connection lost"
            self._is_lost = True
            await self.show(f"{what}, trying again in {math.ceil(item.retry_in)} s")
        elif isinstance(item, Joined):
            await self._tell_back(item)
        elif isinstance(item, Removed):
            self.session_id = None
            await self.show(f"you are no longer in {self.title}: {one_line(item.reason)}")
        elif self._is_lost and self.session_id is None:  # connected, and nothing to catch up
            self._is_lost = False
            await self.show("back")

    async def _tell_back(self, joined: Joined) -> None:
        """Tell what became of the session while the connection was away."""
        self._learn(joined)
        if not joined.is_recovered:
            await self.show("back, but too much was missed; the newest messages:")
            await self._show_page(joined)
        elif self._is_lost:
            plural = "" if joined.missed == 1 else "s"
            await self.show(f"back, {joined.missed} message{plural} missed")
        self._is_lost = False

    async def _tell_change(self, change: Change) -> None:
        data = change.data
        if change.event == "message:new":
            await self.show(message_lines(data))
        elif change.event == "message:updated":
            await self.show(f"* edited: {message_lines(data)}")
        elif change.event == "message:deleted":
            await self.show("* a message was deleted")
        elif change.event == "member:joined":
            user = data.get("member", {}).get("user", {})
            self.names[str(user.get("id"))] = one_line(user.get("name"))
            await self.show(f"* {one_line(user.get('name'))} is now a member")
        elif change.event == "member:left":
            name = self.names.pop(str(data.get("userId")), short(data.get("userId")))
            await self.show(f"* {name} left")
        elif change.event == "session:updated":
            self.title = one_line(data.get("session", {}).get("name") or self.title)
            await self.show(f"* the session is now called {self.title}")
        self._note_read(change.seq)

    async def _tell_signal(self, event: str, data: JsonObject) -> None:
        user_id = str(data.get("userId"))
        name = self.names.get(user_id)
        if event == "session:unread" and data.get("unreadCount"):
            session = short(data.get("sessionId"))
            await self.show(f"* {data['unreadCount']} unread in session {session} (/sessions)")
        elif event == "server:draining":
            await self.show("* the server is about to restart")
        elif name is None or user_id == self.own_id:
            return
        elif event == "user:typing" and data.get("isTyping"):
            await self.show(f"* {name} is typing")
        elif event == "user:status" and self.status.get(user_id) != data.get("status"):
            self.status[user_id] = str(data.get("status"))
            await self.show(f"* {name} is {one_line(self.status[user_id]).lower()}")

    # The read marker

    def _note_read(self, seq: int) -> None:
        self._read_seq = seq
        self._has_read.set()

    async def _mark_read(self) -> None:
        """Tell the server what was shown: the newest only, one at a time."""
        while True:
            await self._has_read.wait()
            self._has_read = trio.Event()
            data = {"sessionId": self.session_id, "seq": self._read_seq}
            if self.session_id is not None:
                await self.follower.signal("message:read", data)
