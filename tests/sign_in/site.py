"""A daemon on a real port with an issuer, and browsers that come to it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import trio

from chatd.config import Settings
from chatd.events.accounts import Tokens
from chatd.nurseries.daemon import Daemon, open_daemon
from chatd.nurseries.listener import bound_port
from chatd.store.memory import MemoryStore
from tests.listener_kit import open_door
from tests.sign_in.issuer import CLIENT_ID, CLIENT_SECRET, ScriptedIssuer, open_issuer

DEADLINE = 20.0  # seconds of real time for a whole test
CALLBACK = "/auth/google/callback"
TLS = ssl.create_default_context()  # one for all browsers: each would take 50 ms to make


def query_of(url: str) -> dict[str, str]:
    """Return the parameters of a URL."""
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


class Browser:
    """Somebody's browser: cookies, and no redirect that the test does not see."""

    def __init__(self, site: Site, http: httpx2.AsyncClient) -> None:
        self._site = site
        self.http = http

    async def begin(self, page: str | None = None) -> str:
        """Ask to sign in; return the issuer's page that the browser is sent to."""
        answer = await self.http.get("/auth/google", params={} if page is None else {"next": page})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def come_back(self, **parameters: str) -> httpx2.Response:
        """Return from the issuer."""
        return await self.http.get(CALLBACK, params=parameters)

    async def finish(self, code: str) -> httpx2.Response:
        """Exchange a one-time code."""
        return await self.http.post("/auth/exchange", json={"code": code})

    async def code(self, page: str | None = None) -> str:
        """Do all but the exchange; return the one-time code."""
        back = self._site.issuer.grant(await self.begin(page))
        answer = await self.come_back(**back)
        assert answer.status_code == 302, answer.text
        location = answer.headers["location"]
        assert location.startswith(f"{self._site.url}/auth/return?"), location
        told = query_of(location)
        assert set(told) == {"code", "next"}
        assert told["next"] == (page or "/")
        return told["code"]

    async def sign_in(self) -> Tokens:
        """Sign in, all of it."""
        answer = await self.finish(await self.code())
        assert answer.status_code == 200, answer.text
        return Tokens.model_validate(answer.json())


class Site:
    """The daemon and its issuer; made by `open_site`.

    Attributes:
        ahead: what the daemon's clock is ahead of the issuer's.
    """

    def __init__(self, url: str, store: MemoryStore, issuer: ScriptedIssuer) -> None:
        self.url = url
        self.store = store
        self.issuer = issuer
        self.ahead = timedelta()
        self.daemon: Daemon

    def now(self) -> datetime:
        """Return the daemon's time of day."""
        return datetime.now(UTC) + self.ahead

    @asynccontextmanager
    async def browser(self, **headers: str) -> AsyncIterator[Browser]:
        """Open a browser without cookies."""
        async with httpx2.AsyncClient(
            base_url=self.url, headers=headers, timeout=DEADLINE, verify=TLS
        ) as http:
            yield Browser(self, http)

    async def still_serves(self) -> None:
        """Check that an honest person signs in."""
        self.ahead = timedelta()
        self.issuer.__init__(self.issuer.url)  # type: ignore[misc]  # as it was at first
        async with self.browser() as browser:
            tokens = await browser.sign_in()
            bearer = {"Authorization": f"Bearer {tokens.access_token}"}
            answer = await browser.http.get("/auth/me", headers=bearer)
            assert answer.json()["user"]["email"] == "zoe@example.com"


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    """Check that an answer is this refusal, with nothing that helps to go on."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers


@asynccontextmanager
async def open_site(tmp_path: Path, **more: Any) -> AsyncIterator[Site]:
    """Run a daemon that has an issuer, each on a free port of this machine."""
    with trio.fail_after(DEADLINE):
        async with open_issuer() as issuer:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            url = f"http://127.0.0.1:{bound_port(listeners[0])}"
            site = Site(url, MemoryStore(), issuer)
            usual: dict[str, Any] = {
                "environment": "development",
                "bcrypt_rounds": 4,
                "rate_limits": "off",
                "signing_keys": ("test:" + "k" * 40,),
                "data_dir": tmp_path,
                "public_url": url,
                "oidc_issuer": issuer.url,
                "oidc_client_id": CLIENT_ID,
                "oidc_client_secret": CLIENT_SECRET,
            }
            settings = Settings(**(usual | more))
            async with (
                open_daemon(settings, site.store, now=site.now) as site.daemon,
                open_door([*listeners], site.daemon.http.serve_connection, max_connections=100),
            ):
                yield site
