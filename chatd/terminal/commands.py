"""What can be typed after a slash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatd.client import ClientError
from chatd.terminal.text import one_line

if TYPE_CHECKING:
    from chatd.terminal.chat import Chat


class UsageError(Exception):
    """A line that cannot be obeyed; its text tells the way out."""


@dataclass(frozen=True)
class Command:
    """One command: what it does, what it takes, and the line about it in `/help`."""

    run: Callable[[Chat, str], Awaitable[None]]
    takes: str
    help: str


async def sessions(chat: Chat, argument: str) -> None:
    """List the sessions."""
    del argument
    await chat.list_sessions()


async def open_session(chat: Chat, argument: str) -> None:
    """Open a session by its number, name or id."""
    wanted = _needed(argument, "open")
    if chat.pick(wanted) == wanted:
        await chat.list_sessions()
    await chat.open(chat.pick(wanted))


async def new(chat: Chat, argument: str) -> None:
    """Make a group of one and open it."""
    session = await chat.client.create_session(kind="GROUP", name=_needed(argument, "new"))
    await chat.show(f"/invite adds others; the id of this session is {one_line(session['id'])}")
    await chat.open(str(session["id"]))


async def public(chat: Chat, argument: str) -> None:
    """Make a session that anybody may join, and open it."""
    session = await chat.client.create_session(kind="PUBLIC", name=_needed(argument, "public"))
    await chat.show(f"others enter with /join {one_line(session['id'])}")
    await chat.open(str(session["id"]))


async def direct(chat: Chat, argument: str) -> None:
    """Open the conversation with one other user."""
    wanted = _needed(argument, "dm")
    user_id = await _user_by_address(chat, wanted) if "@" in wanted else wanted
    session = await chat.client.create_session(kind="DIRECT", member_ids=[user_id])
    await chat.open(str(session["id"]))


async def join(chat: Chat, argument: str) -> None:
    """Become a member of a public session and open it."""
    session_id = _needed(argument, "join")
    await chat.client.add_member(session_id, chat.own_id)
    await chat.open(session_id)


async def invite(chat: Chat, argument: str) -> None:
    """Make somebody else a member of the open session."""
    if chat.session_id is None:
        raise UsageError("open a session first")
    await chat.client.add_member(chat.session_id, _needed(argument, "invite"))


async def who(chat: Chat, argument: str) -> None:
    """Show the members of the open session, and one's own id for others to invite."""
    del argument
    await chat.show(f"your id is {one_line(chat.own_id)}")
    for user_id, name in sorted(chat.names.items(), key=lambda item: item[1].casefold()):
        status = one_line(chat.status.get(user_id, "OFFLINE")).lower()
        await chat.show(f"  {name}  {status}  {one_line(user_id)}")


async def help_(chat: Chat, argument: str) -> None:
    """Show what can be typed."""
    del argument
    for word, command in COMMANDS.items():
        await chat.show(f"  /{word} {command.takes}".ljust(28) + command.help)
    await chat.show("  /quit".ljust(28) + "end; what was typed is sent first")


async def _user_by_address(chat: Chat, address: str) -> str:
    try:
        found = await chat.client.users(address)
    except ClientError as error:
        if error.status != 404:  # noqa: PLR2004 - a server without that route
            raise
        raise UsageError("this server finds nobody by address: use the id, /who shows it") from None
    if not found:
        raise UsageError(f"nobody here has the address {one_line(address)}")
    return str(found[0].get("id"))


def _needed(argument: str, word: str) -> str:
    if not argument:
        raise UsageError(f"usage: /{word} {COMMANDS[word].takes}")
    return argument


COMMANDS = {
    "sessions": Command(sessions, "", "list your sessions"),
    "open": Command(open_session, "NUMBER|NAME|ID", "open one of them"),
    "new": Command(new, "NAME", "make a group"),
    "public": Command(public, "NAME", "make a session that anybody may join"),
    "join": Command(join, "ID", "enter a public session"),
    "dm": Command(direct, "ADDRESS|USER-ID", "talk to one person"),
    "invite": Command(invite, "USER-ID", "add somebody to the open session"),
    "who": Command(who, "", "who is in the open session"),
    "help": Command(help_, "", "this list"),
}
