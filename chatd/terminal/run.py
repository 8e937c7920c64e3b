"""The terminal's two ends, standard input and output, and the login between them."""

from __future__ import annotations

import codecs
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from chatd.client import Client, ClientError, JsonObject, open_client
from chatd.client.nursery import open_private_nursery
from chatd.terminal.chat import Chat
from chatd.terminal.text import one_line

READ_BYTES = 4096
MAX_LINE = 65_536  # characters; a line that never ends becomes several
LINES = 64  # that wait to be understood; a pipe is read no faster than that

Show = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Login:
    """Who comes in, and how."""

    email: str
    password: str | None
    name: str | None = None
    is_new: bool = False


async def run(url: str, login: Login, session: str | None) -> int:
    """Log in at a server and chat over standard input and output; return the exit status."""
    try:
        async with open_client(url) as client, open_private_nursery() as nursery:
            into, lines = trio.open_memory_channel[str](LINES)
            nursery.start_soon(read_lines, sys.stdin.fileno(), into)
            return await chat(client, login, session, lines, show)
    except* BrokenPipeError:  # `chatd chat | head`: nobody reads any more
        status = 1
    return status


async def chat(
    client: Client,
    login: Login,
    session: str | None,
    lines: trio.MemoryReceiveChannel[str],
    show_line: Show,
) -> int:
    """Log in and chat until the lines end; return the exit status."""
    password = login.password
    if password is None and not sys.stdin.isatty():
        await show_line("a password is needed, and there is no terminal to ask for it")
        return 2
    if password is None:
        password = await trio.to_thread.run_sync(getpass.getpass, abandon_on_cancel=True)
    try:
        if login.is_new:
            user = await client.register(login.email, password, login.name)
        else:
            user = await _log_in(client, login.email, password, lines, show_line)
    except ClientError as error:
        await show_line(f"cannot log in: {one_line(error.message)}")
        return 1
    await show_line(f"you are {one_line(user.get('name'))}; /help tells what can be typed")
    async with client.follow() as follower:
        return await Chat(client, follower, show_line).run(lines, session)


async def _log_in(
    client: Client,
    email: str,
    password: str,
    lines: trio.MemoryReceiveChannel[str],
    show_line: Show,
) -> JsonObject:
    """Log in and return the user; a second factor is asked for on the way.

    Raises:
        ClientError: the server refused, or nothing was typed.
    """
    try:
        return await client.login(email, password)
    except ClientError as error:
        if error.code != "second_factor_required":
            raise
        challenge = str((error.details or {}).get("challenge"))
    while True:
        await show_line("the code of your authenticator, or a recovery code:")
        try:
            code = await lines.receive()
        except trio.EndOfChannel:
            raise ClientError("unauthorized", "no code was typed") from None
        try:
            return await client.prove(challenge, code)
        except ClientError as error:
            if not (error.details or {}).get("triesLeft") and not error.retryable:
                raise
            await show_line(one_line(error.message))


async def read_lines(descriptor: int, into: trio.MemorySendChannel[str]) -> None:
    """Send the lines of a file descriptor into a channel, and close it at the end.

    A thread waits in `os.read`, not in `sys.stdin`: one that is abandoned there holds the lock
    that the interpreter wants at exit, which ends in a fatal error.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest, is_open = "", True
    async with into:
        while is_open:
            data = await trio.to_thread.run_sync(
                os.read, descriptor, READ_BYTES, abandon_on_cancel=True
            )
            is_open = bool(data)
            *complete, rest = (rest + decoder.decode(data, not is_open)).split("\n")
            if rest and (not is_open or len(rest) > MAX_LINE):
                complete.append(rest)
                rest = ""
            for line in complete:
                await into.send(line.rstrip("\r"))


async def show(text: str) -> None:
    """Write a line to standard output; a terminal that was stopped with Ctrl-S stops no pings."""
    encoding = sys.stdout.encoding
    shown = text.encode(encoding, "replace").decode(encoding) + "\n"
    await trio.to_thread.run_sync(_write, shown)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
