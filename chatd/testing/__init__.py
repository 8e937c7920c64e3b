"""What people who build on chatd test with: the real daemon, without sockets and PostgreSQL.

    async def test_a_message_is_heard(autojump_clock: MockClock) -> None:
        async with open_chatd() as server:
            anna, bert = await server.person("anna"), await server.person("bert")
            tea = await server.session(anna, bert)
            async with anna.connect() as a, bert.connect(Link(latency=0.1)) as b:
                await b.ask("session:join", sessionId=tea)
                await a.ask("message:send", sessionId=tea, content="hello")
                assert (await b.event("message:new"))["content"] == "hello"

`docs/testing.md` tells how. `chatd.testing.echo` is the two layers under the chat, without the
chat.
"""

from chatd.testing.http import Answer
from chatd.testing.link import Link
from chatd.testing.server import ChatServer, Person, open_chatd
from chatd.testing.socket import Heard, PersonSocket, Refused, SocketClosed, Wire

__all__ = [
    "Answer",
    "ChatServer",
    "Heard",
    "Link",
    "Person",
    "PersonSocket",
    "Refused",
    "SocketClosed",
    "Wire",
    "open_chatd",
]
