"""The client: an account on one server, its REST calls, its connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import httpx2

from chatd.client.connection import Connection, open_connection
from chatd.client.credentials import Credentials, Tokens
from chatd.client.errors import ClientError, JsonObject
from chatd.client.follower import Follower, open_follower
from chatd.client.rest import Rest
from chatd.client.transport import Dial, dial_url
from chatd.errors import CloseCode

TOTP_DIGITS = 6
MAX_PAGES = 100  # of a list; a cursor that never ends must not keep us for ever


class Client:
    """One account on one server; make it with `open_client`.

    `user` is who is logged in. Calls answer the JSON objects of protocol.md, unchanged. Each may
    raise `ClientError`.
    """

    def __init__(self, url: str, rest: Rest, dial: Dial, tokens: Tokens | None) -> None:
        scheme, host, path, _, _ = urlsplit(url)
        secure = "wss" if scheme == "https" else "ws"
        self.user: JsonObject | None = None
        self._ws_url = urlunsplit((secure, host, f"{path.rstrip('/')}/ws", "", ""))
        self._rest = rest
        self._dial = dial
        self._credentials = Credentials(rest, tokens)

    @property
    def tokens(self) -> Tokens | None:
        """The tokens of the login as they are now: give them to `open_client` to come back."""
        return self._credentials.tokens

    async def register(self, email: str, password: str, name: str | None = None) -> JsonObject:
        """Open an account, log in and return the user."""
        body: JsonObject = {"email": email, "password": password}
        if name is not None:
            body["name"] = name
        return self._logged_in(await self._rest.call("POST", "/auth/register", body=body))

    async def login(self, email: str, password: str) -> JsonObject:
        """Log in and return the user.

        An account with a second factor refuses with the code `second_factor_required`: go on with
        `prove`, and the `challenge` of the error's `details`.
        """
        body = {"email": email, "password": password}
        return self._logged_in(await self._rest.call("POST", "/auth/login", body=body))

    async def prove(self, challenge: str, code: str) -> JsonObject:
        """Go on with a login, with the six digits of an authenticator or a recovery code."""
        typed = code.replace(" ", "")
        proof = "code" if len(typed) == TOTP_DIGITS and typed.isdecimal() else "recoveryCode"
        body = {"challenge": challenge, proof: typed}
        return self._logged_in(await self._rest.call("POST", "/auth/login/totp", body=body))

    async def logout(self) -> None:
        """End this login on the server and forget its tokens."""
        if self.tokens is not None:
            await self._call("POST", "/auth/logout")
        self._credentials.keep(None)
        self.user = None

    async def me(self) -> JsonObject:
        """Return the user, as the server has it now."""
        self.user = _part(await self._call("GET", "/auth/me"), "user")
        return self.user

    async def users(self, query: str) -> list[JsonObject]:
        """Return users whose name or address matches."""
        return _rows(await self._call("GET", "/users", query={"query": query}), "users")

    async def sessions(self) -> list[JsonObject]:
        """Return the sessions of the user, latest activity first."""
        found: list[JsonObject] = []
        query: dict[str, str | int] = {}
        for _ in range(MAX_PAGES):
            page = await self._call("GET", "/chat/sessions", query=query)
            found += _rows(page, "sessions")
            if not page.get("nextCursor"):
                break
            query["cursor"] = str(page["nextCursor"])
        return found

    async def session(self, session_id: str) -> JsonObject:
        """Return one session."""
        return _part(await self._call("GET", _path(session_id)), "session")

    async def create_session(
        self, *, kind: str, name: str | None = None, member_ids: Sequence[str] = ()
    ) -> JsonObject:
        """Create a session and return it; a DIRECT one that exists is returned as it is.

        Args:
            kind: `DIRECT`, `GROUP` or `PUBLIC`.
            name: what it is called; a DIRECT session has none.
            member_ids: others who are in it from the start; exactly one for DIRECT.
        """
        body: JsonObject = {"kind": kind, "memberIds": list(member_ids)}
        if name is not None:
            body["name"] = name
        return _part(await self._call("POST", "/chat/sessions", body=body), "session")

    async def members(self, session_id: str) -> list[JsonObject]:
        """Return the members of a session: `{user, role, joinedAt}` each."""
        found: list[JsonObject] = []
        query: dict[str, str | int] = {}
        for _ in range(MAX_PAGES):
            page = await self._call("GET", _path(session_id, "members"), query=query)
            found += _rows(page, "members")
            if not page.get("nextAfter"):
                break
            query["after"] = str(page["nextAfter"])
        return found

    async def add_member(self, session_id: str, user_id: str) -> JsonObject:
        """Make a user a member; one's own id joins a PUBLIC session."""
        return await self._call("POST", _path(session_id, "members"), body={"userId": user_id})

    async def history(
        self,
        session_id: str,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        limit: int = 50,
    ) -> JsonObject:
        """Return `{messages, hasBefore, hasAfter, epoch, seq}`, the newest page without a bound."""
        query: dict[str, str | int] = {"limit": limit}
        if before_seq is not None:
            query["beforeSeq"] = before_seq
        if after_seq is not None:
            query["afterSeq"] = after_seq
        return await self._call("GET", _path(session_id, "messages"), query=query)

    async def post_message(
        self, session_id: str, content: str, *, client_msg_id: str | None = None
    ) -> JsonObject:
        """Send a message without a live connection and return it as stored."""
        headers = {} if client_msg_id is None else {"Idempotency-Key": client_msg_id}
        path, body = _path(session_id, "messages"), {"content": content}
        return _part(await self._call("POST", path, body=body, headers=headers), "message")

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Hold one live connection for the length of the block. It does not come back by itself.

        Raises:
            ConnectionLost: the server could not be reached or did not let us in.
        """
        token = await self._credentials.access_token()
        try:
            async with open_connection(self._dial, self._ws_url, token, self._renew) as connection:
                yield connection
        except ClientError as error:
            code = getattr(error, "close_code", None)
            if code == CloseCode.TOKEN_EXPIRED.code or error.code == "token_expired":
                self._credentials.expire(token)
            raise

    def follow(self, *session_ids: str) -> AbstractAsyncContextManager[Follower]:
        """Follow sessions across disconnects: see `Follower`."""
        return open_follower(self.connect, session_ids)

    async def _renew(self, token: str) -> str:
        self._credentials.expire(token)
        return await self._credentials.access_token()

    def _logged_in(self, answer: JsonObject) -> JsonObject:
        self._credentials.keep(Tokens.from_wire(answer))
        self.user = _part(answer, "user")
        return self.user

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """Call with a fresh token, once more when the server says that it was not."""
        token = await self._credentials.access_token()
        try:
            return await self._rest.call(
                method, path, body=body, query=query, headers=headers, token=token
            )
        except ClientError as error:
            if error.code != "token_expired":  # refused before anything was done
                raise
        token = await self._renew(token)
        return await self._rest.call(
            method, path, body=body, query=query, headers=headers, token=token
        )


@asynccontextmanager
async def open_client(
    url: str,
    *,
    tokens: Tokens | None = None,
    dial: Dial | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> AsyncIterator[Client]:
    """Hold a client of the server at `http://host:port` (or https) for the length of the block.

    Args:
        url: where the server is reached; a path in front of its routes is kept.
        tokens: of an earlier login, or an API token, instead of `login`.
        dial: opens the stream of a live connection; for tests that have no network.
        transport: answers the REST calls; for the same tests.
    """
    rest = Rest(url, transport)
    try:
        yield Client(url, rest, dial or dial_url(url), tokens)
    finally:
        await rest.aclose()


def _path(session_id: str, *rest: str) -> str:
    return "/".join(("/chat/sessions", quote(session_id, safe=""), *rest))


def _part(answer: JsonObject, key: str) -> JsonObject:
    part = answer.get(key)
    if not isinstance(part, dict):
        raise ClientError("bad_answer", f"an answer without {key}")
    return part


def _rows(answer: JsonObject, key: str) -> list[JsonObject]:
    rows = answer.get(key)
    if not isinstance(rows, list):
        raise ClientError("bad_answer", f"an answer without {key}")
    return rows
