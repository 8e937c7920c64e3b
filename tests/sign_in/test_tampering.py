"""Whatever is tampered with, the sign-in is refused, and the daemon serves on."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from joserfc.jwk import RSAKey

from chatd.nurseries import issuer as issuer_module
from chatd.nurseries.bounded_http import MAX_ANSWER_BYTES
from chatd.nurseries.exchange import Exchange
from tests.sign_in.issuer import CLIENT_ID, Handler, ScriptedIssuer, answer, ec_key, forge, rsa_key
from tests.sign_in.issuer import sign as honest
from tests.sign_in.site import CALLBACK, open_site, query_of, refused

pytestmark = pytest.mark.threat("T72")

# State and cookie


async def test_a_state_that_nobody_began_is_refused(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        back = site.issuer.grant(await browser.begin())
        for state in ("x" * 43, back["state"][:-1], back["state"] + "x", "ü"):
            refused(await browser.come_back(code=back["code"], state=state), 401, "unauthorized")
        assert site.issuer.asked["/token"] == 0
        await site.still_serves()


@pytest.mark.parametrize("wrong", [{}, {"state": ""}, {"state": "x" * 129}])
async def test_a_return_without_a_state_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        back = site.issuer.grant(await browser.begin())
        refused(await browser.come_back(code=back["code"], **wrong), 422, "validation_failed")
        await site.still_serves()


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "chatd-sign-in=",
        "chatd-sign-in=" + "x" * 43,
        "chatd-sign-in=" + "x" * 44,
        "__Host-chatd-sign-in={}",
        "a=b; chatd-sign-in-2={}",
    ],
)
async def test_a_browser_without_the_cookie_ends_no_sign_in(tmp_path: Path, cookie: str) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        back = site.issuer.grant(await browser.begin())
        real = browser.http.cookies["chatd-sign-in"]
        browser.http.cookies.clear()
        headers = {"Cookie": cookie.replace("{}", real)}
        got = await browser.http.get(CALLBACK, params=back, headers=headers)
        refused(got, 401, "unauthorized")
        assert site.issuer.asked["/token"] == 0
        await site.still_serves()


async def test_a_victim_who_is_sent_an_attackers_return_is_not_signed_in(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as attacker, site.browser() as victim:
        back = site.issuer.grant(await attacker.begin())
        refused(await victim.come_back(**back), 401, "unauthorized")  # without a cookie
        await victim.begin()
        refused(await victim.come_back(**back), 401, "unauthorized")  # with one of their own
        await site.still_serves()


async def test_a_state_is_good_once(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        url = await browser.begin()
        assert (await browser.come_back(**site.issuer.grant(url))).status_code == 302
        refused(await browser.come_back(**site.issuer.grant(url)), 401, "unauthorized")
        await site.still_serves()


async def test_of_many_returns_at_once_one_is_good(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        back = site.issuer.grant(await browser.begin())
        statuses: list[int] = []

        async def come_back() -> None:
            statuses.append((await browser.come_back(**back)).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(come_back)
        assert sorted(statuses) == [302, 401, 401, 401, 401]


async def test_a_state_is_good_for_ten_minutes_and_not_longer(tmp_path: Path) -> None:
    for seconds, status in [(590, 302), (601, 401)]:
        async with open_site(tmp_path) as site, site.browser() as browser:
            back = site.issuer.grant(await browser.begin())
            site.ahead = timedelta(seconds=seconds)
            site.issuer.claims = {"exp": int(time.time()) + 900}
            assert (await browser.come_back(**back)).status_code == status
            await site.still_serves()


async def test_a_return_of_another_issuer_is_refused(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        for iss, status in [("https://evil.example", 401), (site.issuer.url, 302)]:
            back = site.issuer.grant(await browser.begin())
            assert (await browser.come_back(**back, iss=iss)).status_code == status
        await site.still_serves()


@pytest.mark.parametrize(
    "page",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/a\nLocation: https://evil.example",
        "",
        "/ü",
        "/" + "x" * 512,
    ],
)
@pytest.mark.threat("T73")
async def test_only_paths_of_our_own_are_gone_on_to(tmp_path: Path, page: str) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        got = await browser.http.get("/auth/google", params={"next": page})
        refused(got, 422, "validation_failed")
        assert not site.issuer.asked
        await browser.code("/chat/?s=1&x=//evil.example#top")


# The issuer's code


async def test_a_code_of_another_sign_in_is_refused_by_its_verifier(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser, site.browser() as other:
        mine = site.issuer.grant(await browser.begin())
        theirs = site.issuer.grant(await other.begin())
        got = await browser.come_back(state=mine["state"], code=theirs["code"])
        refused(got, 401, "unauthorized")
        await site.still_serves()


@pytest.mark.parametrize("code", ["", "x\ty", "ü", "x" * 4097])
async def test_a_code_that_is_none_is_refused_before_the_issuer_is_asked(
    tmp_path: Path, code: str
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        back = site.issuer.grant(await browser.begin())
        got = await browser.come_back(state=back["state"], code=code)
        refused(got, 422, "validation_failed")
        assert site.issuer.asked["/token"] == 0
        assert (await browser.come_back(**back)).status_code == 302  # nothing is lost


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("access_denied", 403, "forbidden"),
        ("login_required", 403, "forbidden"),
        ("server_error", 503, "unavailable"),
        ("<script>", 503, "unavailable"),
        (None, 422, "validation_failed"),
    ],
)
async def test_who_comes_back_with_an_error_is_told_so(
    tmp_path: Path, error: str | None, status: int, code: str
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        state = site.issuer.grant(await browser.begin())["state"]
        more = {} if error is None else {"error": error, "error_description": "<script>"}
        got = await browser.come_back(state=state, **more)
        refused(got, status, code)
        assert "script" not in got.text
        refused(await browser.come_back(state=state, code="x"), 401, "unauthorized")
        await site.still_serves()


# ID tokens

Tamper = Callable[[ScriptedIssuer], None]


def claims(**changes: Any) -> Tamper:
    """Change what the token says; None leaves a claim out."""

    def tamper(issuer: ScriptedIssuer) -> None:
        issuer.claims = changes

    return tamper


def from_now(**seconds: int) -> Tamper:
    """Change times to so many seconds from when the test runs: it may be long after the import."""

    def tamper(issuer: ScriptedIssuer) -> None:
        issuer.claims = {claim: int(time.time()) + ahead for claim, ahead in seconds.items()}

    return tamper


def signed(make: Callable[[dict[str, Any]], str]) -> Tamper:
    """Make the token otherwise."""

    def tamper(issuer: ScriptedIssuer) -> None:
        issuer.sign = make

    return tamper


def public_key_as_secret(told: dict[str, Any]) -> str:
    """Sign with HMAC, and the public key that everybody knows as its secret."""
    return forge(told, {"alg": "HS256", "kid": "one"}, rsa_key().as_pem(private=False))


def own_key_in_header(told: dict[str, Any]) -> str:
    """Sign with a key that the token brings along."""
    key = rsa_key("evil")
    return honest(told, key, kid="one", jwk=key.as_dict(private=False))


def cut(told: dict[str, Any]) -> str:
    """Leave the signature out."""
    return honest(told).rpartition(".")[0] + "."


def changed(told: dict[str, Any]) -> str:
    """Put other claims under a good signature."""
    head, _, signature = honest(told).split(".")
    other = honest(told | {"sub": "somebody"}).split(".")[1]
    return f"{head}.{other}.{signature}"


TAMPERED: dict[str, Tamper] = {
    "alg none": signed(lambda told: forge(told, {"alg": "none"})),
    "alg none, with a key": signed(lambda told: forge(told, {"alg": "none", "kid": "one"})),
    "alg nOnE": signed(lambda told: forge(told, {"alg": "nOnE", "kid": "one"})),
    "HS256 with the public key": signed(public_key_as_secret),
    "HS256 with the client's secret": signed(
        lambda told: forge(told, {"alg": "HS256"}, b"a secret / of the client")
    ),
    "RS512": signed(lambda told: honest(told, alg="RS512")),
    "a key that is not the issuer's": signed(lambda told: honest(told, rsa_key("evil"), kid="one")),
    "a key that the token brings": signed(own_key_in_header),
    "an unknown kid": signed(lambda told: honest(told, kid="../../etc/passwd")),
    "another kind of key": signed(lambda told: honest(told, kid="curve")),
    "ES256 named as RS256": signed(lambda told: honest(told, ec_key(), alg="ES256", kid="one")),
    "no signature": signed(cut),
    "other claims": signed(changed),
    "an unknown crit": signed(lambda told: forge(told, {"alg": "RS256", "crit": ["x"], "x": 1})),
    "no token": signed(lambda _told: ""),
    "two parts": signed(lambda _told: "a.b"),
    "five parts": signed(lambda _told: "a.b.c.d.e"),
    "no JSON": signed(lambda _told: "x.y.z"),
    "not ASCII": signed(lambda told: honest(told) + "ü"),
    "too long": signed(lambda told: honest(told | {"x": "x" * 16_384})),
    "wrong aud": claims(aud="another client"),
    "our client among several, made for another": claims(aud=[CLIENT_ID, "other"], azp="other"),
    "several and no azp": claims(aud=[CLIENT_ID, "other"]),
    "wrong azp": claims(azp="another client"),
    "aud as a part": claims(aud=CLIENT_ID + "-2"),
    "aud that is an object": claims(aud={CLIENT_ID: 1}),
    "no aud": claims(aud=None),
    "wrong iss": claims(iss="https://evil.example"),
    "iss with a slash": claims(iss="http://127.0.0.1/"),
    "no iss": claims(iss=None),
    "expired": from_now(exp=-60),
    "no exp": claims(exp=None),
    "exp as text": claims(exp="9999999999"),
    "exp that is true": claims(exp=True),
    "iat ahead": from_now(iat=600),
    "no iat": claims(iat=None),
    "nbf ahead": from_now(nbf=600),
    "wrong nonce": claims(nonce="x" * 43),
    "empty nonce": claims(nonce=""),
    "nonce that is a list": claims(nonce=["x"]),
    "no nonce": claims(nonce=None),
    "no sub": claims(sub=None),
    "empty sub": claims(sub=""),
    "sub that is a number": claims(sub=1),
    "long sub": claims(sub="x" * 256),
    "sub with NUL": claims(sub="zoe\0"),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_token_that_is_not_the_issuers_for_us_is_refused(tmp_path: Path, name: str) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        back = site.issuer.grant(await browser.begin())
        TAMPERED[name](site.issuer)
        refused(await browser.come_back(**back), 401, "unauthorized")
        assert await site.store.user_by_email("zoe@example.com") is None
        await site.still_serves()


async def test_a_token_of_an_earlier_sign_in_is_refused(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        kept: list[str] = []

        def keep(told: dict[str, Any]) -> str:
            kept.append(honest(told))
            return kept[0]

        site.issuer.sign = keep
        await browser.sign_in()
        back = site.issuer.grant(await browser.begin())
        refused(await browser.come_back(**back), 401, "unauthorized")
        assert len(kept) == 2
        await site.still_serves()


# Keys


async def test_a_new_key_is_looked_for_once_and_found(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        await browser.sign_in()
        site.issuer.keys = [rsa_key("two").as_dict(private=False)]
        site.issuer.sign = lambda told: honest(told, rsa_key("two"))
        await browser.sign_in()
        assert site.issuer.asked["/jwks"] == 2
        site.issuer.sign = honest  # the old key is gone
        back = site.issuer.grant(await browser.begin())
        refused(await browser.come_back(**back), 401, "unauthorized")
        assert site.issuer.asked["/jwks"] == 2


async def test_made_up_keys_make_nobody_ask_the_issuer_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        site.issuer.sign = lambda told: honest(told, kid="made up")
        for _ in range(4):
            back = site.issuer.grant(await browser.begin())
            refused(await browser.come_back(**back), 401, "unauthorized")
        assert site.issuer.asked["/jwks"] == 2
        monkeypatch.setattr(issuer_module, "KEYS_INTERVAL", 0)
        back = site.issuer.grant(await browser.begin())
        refused(await browser.come_back(**back), 401, "unauthorized")
        assert site.issuer.asked["/jwks"] == 3
        await site.still_serves()


async def test_a_token_without_a_kid_is_good_only_when_there_is_no_choice(tmp_path: Path) -> None:
    for keys, status in [([rsa_key()], 302), ([rsa_key(), rsa_key("two")], 401)]:
        async with open_site(tmp_path) as site, site.browser() as browser:
            site.issuer.keys = [key.as_dict(private=False) for key in keys]
            site.issuer.sign = lambda told: honest(told, kid=None)
            back = site.issuer.grant(await browser.begin())
            assert (await browser.come_back(**back)).status_code == status


async def test_a_key_for_encryption_signs_nothing(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        key = RSAKey.generate_key(2048, {"kid": "enc", "use": "enc"})
        site.issuer.keys = [rsa_key().as_dict(private=False), key.as_dict(private=False)]
        site.issuer.sign = lambda told: honest(told, key, kid="enc")
        back = site.issuer.grant(await browser.begin())
        site.issuer.sign = lambda told: honest(told, rsa_key("evil"), kid="enc")
        refused(await browser.come_back(**back), 401, "unauthorized")


# The one-time code


async def test_a_code_is_good_once(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        code = await browser.code()
        assert (await browser.finish(code)).status_code == 200
        refused(await browser.finish(code), 401, "unauthorized")
        await site.still_serves()


async def test_a_code_is_good_in_the_browser_that_began_alone(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser, site.browser() as other:
        code = await browser.code()
        refused(await other.finish(code), 401, "unauthorized")
        await other.begin()
        refused(await other.finish(code), 401, "unauthorized")
        assert (await browser.finish(code)).status_code == 200
        await site.still_serves()


async def test_a_code_is_good_for_a_minute_and_not_longer(tmp_path: Path) -> None:
    for seconds, status in [(50, 200), (61, 401)]:
        async with open_site(tmp_path) as site, site.browser() as browser:
            code = await browser.code()
            site.ahead = timedelta(seconds=seconds)
            assert (await browser.finish(code)).status_code == status
            await site.still_serves()


async def test_a_state_is_no_code_and_a_code_is_no_state(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        state = query_of(await browser.begin())["state"]
        refused(await browser.finish(state), 401, "unauthorized")
        code = await browser.code()
        refused(await browser.come_back(state=code, code="x"), 401, "unauthorized")
        assert (await browser.finish(code)).status_code == 200


# The issuer's trouble


async def hang(_exchange: Exchange) -> None:
    """Answer never."""
    await trio.sleep_forever()


async def trickle(exchange: Exchange) -> None:
    """Answer a little, and then nothing."""
    exchange.start(200, [(b"content-length", b"100")])
    await exchange.send(b"{", more=True)
    await trio.sleep_forever()


async def flood(exchange: Exchange) -> None:
    """Answer more than anybody wants."""
    await exchange.respond(200, [], b" " * (MAX_ANSWER_BYTES + 1))


async def compress(exchange: Exchange) -> None:
    """Answer what nobody asked for: a bomb could be in it."""
    await exchange.respond(200, [(b"content-encoding", b"gzip")], b"\x1f\x8b")


async def redirect(exchange: Exchange) -> None:
    """Send the daemon to somewhere inside."""
    await exchange.respond(302, [(b"location", b"http://127.0.0.1:1/")], b"")


def says(body: object, status: int = 200) -> Handler:
    """Answer with JSON."""

    async def handle(exchange: Exchange) -> None:
        await answer(exchange, body, status)

    return handle


TROUBLE: dict[str, Handler] = {
    "hang": hang,
    "trickle": trickle,
    "flood": flood,
    "compressed": compress,
    "redirect": redirect,
    "500": says({}, 500),
    "no object": says([]),
    "an empty object": says({}),
    "null": says(None),
    "invalid_client": says({"error": "invalid_client"}, 401),
}


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/token"])
@pytest.mark.parametrize("trouble", TROUBLE)
async def test_an_issuer_in_trouble_is_unavailable_and_is_asked_again(
    tmp_path: Path, path: str, trouble: str
) -> None:
    async with open_site(tmp_path, oidc_timeout=0.3) as site, site.browser() as browser:
        site.issuer.answers[path] = TROUBLE[trouble]
        if path.startswith("/."):
            got = await browser.http.get("/auth/google")
        else:
            back = site.issuer.grant(await browser.begin())
            got = await browser.come_back(**back)
        if (path, trouble) == ("/token", "an empty object"):
            refused(got, 401, "unauthorized")
        else:
            refused(got, 503, "unavailable")
            assert got.headers["retry-after"] == "5"
        await site.still_serves()


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://evil.example/token"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": 7},
    ],
)
async def test_a_description_that_leads_elsewhere_is_refused(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    async with open_site(tmp_path) as site, site.browser() as browser:
        site.issuer.document = wrong
        refused(await browser.http.get("/auth/google"), 503, "unavailable")
        await site.still_serves()


async def test_while_the_issuer_hangs_the_rest_is_served(tmp_path: Path) -> None:
    async with open_site(tmp_path, oidc_timeout=1) as site, trio.open_nursery() as nursery:
        site.issuer.answers["/.well-known/openid-configuration"] = hang
        statuses: list[int] = []

        async def begin() -> None:
            async with site.browser() as browser:
                statuses.append((await browser.http.get("/auth/google")).status_code)

        for _ in range(10):
            nursery.start_soon(begin)
        async with site.browser() as browser:
            for _ in range(20):
                assert (await browser.http.get("/healthz")).status_code == 200
        while len(statuses) < 10:  # noqa: ASYNC110 - ten clients tell no event
            await trio.sleep(0.01)
        assert statuses == [503] * 10


async def test_cookies_of_the_issuer_are_not_kept_for_the_next_person(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        seen: list[bytes | None] = []

        async def set_cookie(exchange: Exchange) -> None:
            seen.append(dict(exchange.head.headers).get(b"cookie"))
            headers = [(b"set-cookie", b"person=zoe")]
            await exchange.respond(401, headers, b"{}")

        site.issuer.answers["/token"] = set_cookie
        for _ in range(2):
            async with site.browser() as browser:
                back = site.issuer.grant(await browser.begin())
                refused(await browser.come_back(**back), 401, "unauthorized")
        assert seen == [None, None]
