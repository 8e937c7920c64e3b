"""A small Trio client for chatd: REST calls, live connections, sessions that survive the network.

    async with open_client("http://localhost:8000") as client:
        await client.login("ann@example.org", password)
        session = await client.create_session(kind="GROUP", name="tea")
        async with client.follow(session["id"]) as follower:
            await follower.send(session["id"], "hello")
            async for item in follower:
                ...

`client.connect()` is one connection, as it is; `client.follow()` comes back by itself and yields
every durable change once. Every wait on the server has a deadline; what waits for a network to
return says so in its docstring.
"""

from chatd.client.api import Client, open_client
from chatd.client.connection import Connection
from chatd.client.credentials import Tokens
from chatd.client.errors import ClientError, ConnectionLost, JsonObject
from chatd.client.events import Event, Position
from chatd.client.follower import Follower
from chatd.client.timeline import Change, Connected, Disconnected, Item, Joined, Removed, Signal

__all__ = [
    "Change",
    "Client",
    "ClientError",
    "Connected",
    "Connection",
    "ConnectionLost",
    "Disconnected",
    "Event",
    "Follower",
    "Item",
    "Joined",
    "JsonObject",
    "Position",
    "Removed",
    "Signal",
    "Tokens",
    "open_client",
]
