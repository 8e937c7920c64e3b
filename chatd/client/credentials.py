"""Who the client is: an access token that is always fresh, refreshed by one task at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from chatd.client.errors import ClientError, JsonObject
from chatd.client.rest import Rest

FRESH_MARGIN = 30.0  # seconds left below which a token is renewed: it must outlive the call


@dataclass(frozen=True)
class Tokens:
    """What a login hands out. Keep them to come back without the password."""

    access: str
    refresh: str
    expires_at: datetime

    @classmethod
    def of_api_token(cls, token: str) -> Tokens:
        """Return an API token (`chatd_pat_…`) as what `open_client` takes; it is never renewed."""
        return cls(token, "", datetime.max.replace(tzinfo=UTC))

    @classmethod
    def from_wire(cls, answer: JsonObject) -> Tokens:
        """Read `{accessToken, refreshToken, expiresAt}`.

        Raises:
            ClientError: `bad_answer`, something is missing.
        """
        try:
            return cls(
                answer["accessToken"],
                answer["refreshToken"],
                datetime.fromisoformat(answer["expiresAt"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ClientError("bad_answer", f"a login without {error}") from error


class Credentials:
    """The tokens of one login, and their renewal."""

    def __init__(self, rest: Rest, tokens: Tokens | None = None) -> None:
        self._rest = rest
        self._one_at_a_time = trio.Lock()
        self._deadline = 0.0
        self.tokens = tokens
        if tokens is not None:
            self.keep(tokens)

    def keep(self, tokens: Tokens | None) -> None:
        """Use these tokens from now on; None forgets the login."""
        self.tokens = tokens
        if tokens is not None:
            # On Trio's clock from here on: a corrected wall clock must not end a login.
            life = (tokens.expires_at - datetime.now(UTC)).total_seconds()
            self._deadline = trio.current_time() + life

    def expire(self, token: str) -> None:
        """Take the server's word that this access token has expired; the next call renews it."""
        if self.tokens is not None and self.tokens.access == token:
            self._deadline = -1.0

    async def access_token(self) -> str:
        """Return an access token that outlives the next call, renewing it when need be.

        Two refreshes at once would use one refresh token twice, which the server may take for
        theft: callers wait for the one that is under way.

        Raises:
            ClientError: `unauthorized` without a login or with one that was revoked, else what
                the call to renew it ran into.
        """
        async with self._one_at_a_time:
            if self.tokens is None:
                raise ClientError("unauthorized", "log in first")
            if self._deadline - trio.current_time() < FRESH_MARGIN:
                await self._refresh(self.tokens)
            return self.tokens.access

    async def _refresh(self, old: Tokens) -> None:
        body = {"refreshToken": old.refresh}
        try:
            answer = await self._rest.call("POST", "/auth/refresh", body=body)
        except ClientError as error:
            if error.code in {"unauthorized", "token_expired"}:
                self.keep(None)  # asking again with the same token cannot help
                raise ClientError("unauthorized", error.message, status=error.status) from error
            raise
        self.keep(Tokens.from_wire(answer))
