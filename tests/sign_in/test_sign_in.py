"""Sign-in with an issuer, as it goes well and as people and operators see it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from pydantic import ValidationError
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.config import Settings
from chatd.ids import uuid7
from tests.people import open_world
from tests.sign_in.issuer import ec_key, sign
from tests.sign_in.site import CALLBACK, open_site, query_of, refused


async def test_who_signs_in_for_the_first_time_has_an_account_without_a_password(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        tokens = await browser.sign_in()
        assert (tokens.user.email, tokens.user.name) == ("zoe@example.com", "Zoe")
        user = await site.store.user_by_email("zoe@example.com")
        assert user is not None
        assert (user.id, user.password_hash) == (tokens.user.id, None)
        again = await browser.http.post(
            "/auth/refresh", json={"refreshToken": tokens.refresh_token}
        )
        assert again.status_code == 200


async def test_a_second_factor_is_asked_for_by_the_issuer_and_not_by_us(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        async with site.browser() as browser:
            user_id = (await browser.sign_in()).user.id
        assert await site.store.begin_second_factor(user_id, secret=b"sealed", key_id="test")
        assert await site.store.confirm_second_factor(
            user_id, secret=b"sealed", step=1, code_hashes=[], at=site.now()
        )
        async with site.browser() as browser:
            assert (await browser.sign_in()).user.id == user_id


@pytest.mark.threat("T72")
async def test_the_identity_is_the_subject_and_not_the_address(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        async with site.browser() as browser:
            first = await browser.sign_in()
        site.issuer.person |= {"email": "other@example.com", "email_verified": False}
        async with site.browser() as browser:
            assert (await browser.sign_in()).user == first.user
        site.issuer.person = {"sub": "zoe-2", "email": "zoe2@example.com", "email_verified": True}
        async with site.browser() as browser:
            assert (await browser.sign_in()).user.id != first.user.id


async def test_claims_that_only_the_userinfo_has_are_read_there(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        site.issuer.claims = {"email": None, "email_verified": None, "name": None}
        assert (await browser.sign_in()).user.name == "Zoe"
        assert site.issuer.asked["/userinfo"] == 1


async def test_userinfo_about_somebody_else_is_refused(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        site.issuer.claims = {"email": None, "sub": "zoe-2"}
        back = site.issuer.grant(await browser.begin())
        refused(await browser.come_back(**back), 503, "unavailable")
        await site.still_serves()


@pytest.mark.parametrize("name", [None, "", "two\nlines", "x" * 81, 7])
async def test_a_name_that_we_do_not_take_is_that_of_the_address(
    tmp_path: Path, name: object
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        site.issuer.claims = {"name": name}
        assert (await browser.sign_in()).user.name == "zoe"


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic"], None, "odd"])
async def test_the_client_shows_its_secret_as_the_issuer_wants_it(
    tmp_path: Path, methods: object
) -> None:
    async with open_site(tmp_path, oidc_client_secret="plain-secret") as site:
        site.issuer.secret = "plain-secret"
        site.issuer.document = {"token_endpoint_auth_methods_supported": methods}
        async with site.browser() as browser:
            await browser.sign_in()


async def test_several_tabs_of_a_browser_sign_in_at_once(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        tabs = [await browser.begin(f"/{number}") for number in range(3)]
        for number, url in reversed(list(enumerate(tabs))):
            answer = await browser.come_back(**site.issuer.grant(url))
            told = query_of(answer.headers["location"])
            assert told["next"] == f"/{number}"
            assert (await browser.finish(told["code"])).status_code == 200


async def test_the_description_is_read_once_and_the_keys_are(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(_sign_in, site)
        assert site.issuer.asked["/.well-known/openid-configuration"] == 1
        assert site.issuer.asked["/jwks"] == 1
        assert site.issuer.asked["/token"] == 5


async def _sign_in(site: Any) -> None:
    async with site.browser() as browser:
        await browser.sign_in()


async def test_an_issuer_may_sign_with_an_elliptic_curve(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        site.issuer.sign = lambda claims: sign(claims, ec_key(), alg="ES256")
        await browser.sign_in()


async def test_an_audience_of_several_is_good_when_the_token_was_made_for_us(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        site.issuer.claims = {"aud": ["chatd-client", "other"], "azp": "chatd-client"}
        await browser.sign_in()


# Accounts that there are already


@pytest.mark.threat("T72")
async def test_an_account_with_the_address_is_not_linked_unless_chatd_verified_it(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site:
        user = await site.store.insert_user(
            user_id=uuid7(),
            email="zoe@example.com",
            name="Other",
            password_hash="hash",
            created_at=site.now(),
        )
        assert user is not None
        for _ in range(2):
            async with site.browser() as browser:
                back = site.issuer.grant(await browser.begin())
                answer = await browser.come_back(**back)
                refused(answer, 409, "conflict")
                assert "zoe@example.com has an account here" in answer.text
        await site.store.verify_email(user.id, user.email, site.now())
        async with site.browser() as browser:
            assert (await browser.sign_in()).user.id == user.id
        entries = await site.store.audit_page(user.id, before=None, limit=9)
        assert [entry.action for entry in entries] == ["sign_in", "identity_linked"]
        assert entries[1].details == {"issuer": site.issuer.url}


async def test_a_mailed_link_makes_an_account_one_that_a_sign_in_is_linked_to_and_its_owner_is_told(
    tmp_path: Path,
) -> None:
    with capture_logs() as logs:
        async with (
            open_site(tmp_path, email_verification="optional") as site,
            site.browser() as browser,
        ):
            account = {"email": "zoe@example.com", "password": "correct horse battery"}
            opened = await browser.http.post("/auth/register", json=account)
            assert opened.status_code == 201
            back = site.issuer.grant(await browser.begin())
            refused(await browser.come_back(**back), 409, "conflict")
            [letter] = await letters(logs)
            token = letter["link"].partition("#token=")[2]
            answer = await browser.http.post("/auth/email/verify", json={"token": token})
            assert answer.json() == {"email": "zoe@example.com"}
            assert (await browser.sign_in()).user.id == UUID(opened.json()["user"]["id"])
            [_, notice] = await letters(logs)
            assert (notice["kind"], notice["to"]) == ("identity_linked", "zoe@example.com")
            await browser.sign_in()
            assert len(await letters(logs)) == 2


async def letters(logs: list[Any]) -> list[Any]:
    """Return all letters so far, when none is under way."""
    await wait_all_tasks_blocked()
    return [entry for entry in logs if entry["event"] == "mail"]


@pytest.mark.parametrize("is_verified", [False, None, "true", 1])
@pytest.mark.threat("T72")
async def test_an_address_that_the_issuer_has_not_verified_links_and_opens_nothing(
    tmp_path: Path, is_verified: object
) -> None:
    async with open_site(tmp_path) as site:
        user = await site.store.insert_user(
            user_id=uuid7(),
            email="zoe@example.com",
            name="Other",
            password_hash=None,
            created_at=site.now(),
        )
        assert user is not None
        await site.store.verify_email(user.id, user.email, site.now())
        for email in ("zoe@example.com", "new@example.com"):
            site.issuer.claims = {"email": email, "email_verified": is_verified}
            async with site.browser() as browser:
                back = site.issuer.grant(await browser.begin())
                refused(await browser.come_back(**back), 403, "forbidden")
        assert await site.store.user_by_email("new@example.com") is None
        await site.still_serves()


async def test_an_account_that_is_gone_before_the_exchange_is_refused(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        code = await browser.code()
        site.store._users.clear()
        refused(await browser.finish(code), 401, "unauthorized")


# What a browser sees


async def test_a_refusal_is_a_page_for_a_person_and_the_envelope_for_a_program(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        answer = await browser.come_back(state="x", code="y")
        refused(answer, 401, "unauthorized")
        answer = await browser.http.get(
            CALLBACK, params={"state": "<b>", "code": "y"}, headers={"Accept": "text/html,*/*"}
        )
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "was not begun in this browser" in answer.text
        assert "<code>unauthorized</code>" in answer.text
        assert "<b>" not in answer.text
        assert answer.headers["x-request-id"] in answer.text


async def test_the_cookie_is_for_this_host_alone_where_there_is_tls(
    tmp_path: Path,
) -> None:
    for url, cookie in [
        ("https://chat.example.org/", r"__Host-chatd-sign-in=[\w-]{43}; Path=/; .*; Secure"),
        (None, r"chatd-sign-in=[\w-]{43}; Path=/; .*"),
    ]:
        more = {} if url is None else {"public_url": url}
        async with open_site(tmp_path, **more) as site, site.browser() as browser:
            answer = await browser.http.get("/auth/google")
            told = answer.headers["set-cookie"]
            assert re.fullmatch(cookie, told), told
            assert "; Max-Age=660; HttpOnly; SameSite=Lax" in told
            assert "Domain" not in told
            asked = query_of(answer.headers["location"])
            base = site.url if url is None else "https://chat.example.org"
            assert asked["redirect_uri"] == f"{base}{CALLBACK}"


# Without an issuer


async def test_without_a_client_id_there_is_no_sign_in_and_the_features_say_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        for path in ("/auth/google", f"{CALLBACK}?state=x&code=y"):
            answer = await world.rest("GET", path)
            assert (answer.status, answer.code) == (404, "not_found")
        answer = await world.rest("POST", "/auth/exchange", {"code": "x"})
        assert (answer.status, answer.code) == (404, "not_found")
        features = (await world.rest("GET", "/config.json")).json
        assert features["google"] is False


async def test_with_a_client_id_the_features_say_so_and_the_issuer_is_not_asked(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        assert (await browser.http.get("/config.json")).json()["google"] is True
        assert not site.issuer.asked


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://issuer.example.org"},
        {"oidc_issuer": "http://localhost.example.org"},
        {"oidc_issuer": "http://127.0.0.1@evil.example"},
        {"oidc_issuer": "ftp://localhost"},
        {"oidc_issuer": "http://[::1"},
        {"oidc_issuer": "https://x.example/\r\nX: y"},
        {"oidc_issuer": "https://"},
        {"oidc_client_id": "x"},
        {"oidc_client_id": "x", "public_url": "http://chat.example.org"},
        {"oidc_client_id": "x", "public_url": "chat.example.org"},
    ],
)
def test_what_could_be_read_on_its_way_is_refused_by_the_settings(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="https"):
        Settings(**wrong)  # type: ignore[arg-type]  # one of two types of strings


@pytest.mark.parametrize("url", ["http://localhost:1", "http://[::1]:1", "https://x.example/y/"])
def test_an_issuer_is_https_or_on_this_machine(url: str) -> None:
    assert Settings(oidc_issuer=url).oidc_issuer == url
