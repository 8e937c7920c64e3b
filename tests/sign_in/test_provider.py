"""Sign-in end to end: the daemon's process, a certified provider's, and a browser between them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
import trio

from chatd.events.accounts import Tokens
from tests.scenarios.daemon import Daemon, quiet_port, running_daemon
from tests.sign_in.issuer import CLIENT_ID, CLIENT_SECRET
from tests.sign_in.provider import running_provider
from tests.sign_in.site import CALLBACK, query_of, refused

DEADLINE = 30.0  # seconds of real time for one story


@dataclass(frozen=True)
class Place:
    """Where the two serve."""

    daemon: Daemon
    issuer: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run the daemon and the provider; each knows the other's address ahead."""
    port = quiet_port()
    url = f"http://127.0.0.1:{port}"
    with (
        running_provider(f"{url}{CALLBACK}") as issuer,
        running_daemon(
            tmp_path_factory.mktemp("sign_in") / "data",
            wanted_port=port,
            drain_seconds=0.5,
            public_url=url,
            oidc_issuer=issuer,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
        ) as daemon,
    ):
        yield Place(daemon, issuer)


@asynccontextmanager
async def open_browser(place: Place) -> AsyncIterator[httpx2.AsyncClient]:
    """Open a browser without cookies, at the daemon."""
    with trio.fail_after(DEADLINE):
        async with httpx2.AsyncClient(base_url=place.daemon.url, timeout=DEADLINE) as browser:
            yield browser


async def follow(
    browser: httpx2.AsyncClient, place: Place, answer: httpx2.Response
) -> httpx2.Response:
    """Follow redirects among the provider's pages; return its form, or the redirect away."""
    while answer.is_redirect:
        url = urljoin(str(answer.url), answer.headers["location"])
        if not url.startswith(place.issuer):
            return answer
        answer = await browser.get(url)
    return answer


async def fill_in(
    browser: httpx2.AsyncClient, place: Place, page: httpx2.Response, **fields: str
) -> httpx2.Response:
    """Send the form of a page with its hidden fields and these."""
    action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
    assert action is not None, page.text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', page.text))
    form = await browser.post(action[1], data=hidden | fields)
    return await follow(browser, place, form)


async def sign_in_at(place: Place, browser: httpx2.AsyncClient, login: str, page: str = "/") -> str:
    """Log in at the provider and allow what chatd asks; return where that leads."""
    begun = await browser.get("/auth/google", params={"next": page})
    assert begun.status_code == 302, begun.text
    form = await browser.get(begun.headers["location"])
    form = await follow(browser, place, form)
    consent = await fill_in(browser, place, form, login=login, password="any")
    away = await fill_in(browser, place, consent)
    return str(away.headers["location"])


async def test_somebody_signs_in_and_again_without_a_password_here(place: Place) -> None:
    users = []
    for _ in range(2):
        async with open_browser(place) as browser:
            back = await sign_in_at(place, browser, "zoe", "/chat/?s=1")
            assert back.startswith(f"{place.daemon.url}{CALLBACK}?code=")
            returned = await browser.get(back)
            told = query_of(returned.headers["location"])
            assert returned.headers["location"].startswith(f"{place.daemon.url}/auth/return?")
            assert told["next"] == "/chat/?s=1"
            answer = await browser.post("/auth/exchange", json={"code": told["code"]})
            assert answer.status_code == 200, answer.text
            tokens = Tokens.model_validate(answer.json())
            assert (tokens.user.email, tokens.user.name) == ("zoe@example.com", "Zoe")
            bearer = {"Authorization": f"Bearer {tokens.access_token}"}
            assert (await browser.get("/auth/me", headers=bearer)).status_code == 200
            users.append(tokens.user.id)
            refused(await browser.get(back), 401, "unauthorized")
            again = await browser.post("/auth/exchange", json={"code": told["code"]})
            refused(again, 401, "unauthorized")
    assert users[0] == users[1]


async def test_an_address_that_the_provider_has_not_verified_opens_nothing(place: Place) -> None:
    async with open_browser(place) as browser:
        back = await sign_in_at(place, browser, "max")
        refused(await browser.get(back), 403, "forbidden")


async def test_an_account_with_a_password_is_not_linked_by_its_address(place: Place) -> None:
    async with open_browser(place) as browser:
        account = {"email": "ada@example.com", "password": "correct horse battery"}
        assert (await browser.post("/auth/register", json=account)).status_code == 201
        back = await sign_in_at(place, browser, "ada")
        refused(await browser.get(back), 409, "conflict")
        assert (await browser.post("/auth/login", json=account)).status_code == 200


async def test_who_says_no_at_the_provider_is_told_so(place: Place) -> None:
    async with open_browser(place) as browser:
        begun = await browser.get("/auth/google")
        form = await follow(browser, place, await browser.get(begun.headers["location"]))
        abort = re.search(r'href="([^"]+/abort)"', form.text)
        assert abort is not None, form.text
        away = await follow(browser, place, await browser.get(urljoin(str(form.url), abort[1])))
        assert query_of(away.headers["location"])["error"] == "access_denied"
        refused(await browser.get(away.headers["location"]), 403, "forbidden")


@pytest.mark.parametrize("tamper", ["code", "challenge"])
async def test_the_provider_refuses_a_code_that_is_not_of_this_sign_in(
    place: Place, tamper: str
) -> None:
    async with open_browser(place) as browser, open_browser(place) as other:
        mine = query_of(await sign_in_at(place, browser, "zoe"))
        if tamper == "code":
            told: dict[str, Any] = mine | {"code": "x" * 43}
        else:  # a good code of this client, of a sign-in with another verifier
            theirs = query_of(await sign_in_at(place, other, "zoe"))
            told = mine | {"code": theirs["code"]}
        refused(await browser.get(CALLBACK, params=told), 401, "unauthorized")
