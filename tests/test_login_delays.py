"""Wrong passwords and codes: slower and slower, never a lock, and nobody is kept out by others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chatd.events.accounts import Tokens
from chatd.guesses import MAX_DELAY
from chatd.keys import SigningKey
from chatd.tokens import AccessTokens
from tests.http_kit import Answer
from tests.second_factor_kit import PASSWORD, Account, Site, open_site

# Everybody comes through one proxy, which says from where; only what is told here is limited.
PROXIED: dict[str, Any] = {
    "trusted_proxies": ("192.0.2.0/24",),
    "rate_limits": "on",
    "login_rate": "1000/s burst 1000",
    "register_rate": "1000/s burst 1000",
    "pair_login_rate": "1000/s burst 1000",
    "account_login_rate": "1000/s burst 1000",
}
WRONG = "wrong horse battery"
HOME = "203.0.113.1"


async def post(site: Site, path: str, body: dict[str, Any], address: str) -> Answer:
    return await site.world.rest("POST", path, body, headers=[f"X-Forwarded-For: {address}"])


async def log_in(
    site: Site, person: Account | str, password: str, address: str, **more: Any
) -> Answer:
    email = person if isinstance(person, str) else person.email
    return await post(site, "/auth/login", {"email": email, "password": password, **more}, address)


def attackers(number: int) -> Iterable[str]:
    return (f"198.51.{each // 250}.{each % 250}" for each in range(number))


@pytest.mark.threat("T77")
async def test_the_delay_doubles_with_each_wrong_password_and_the_wait_is_told_exactly(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        ann = await site.register("ann")
        waits = []
        for _ in range(12):
            answer = await log_in(site, ann, WRONG, HOME)
            assert answer.status == 401
            refused = await log_in(site, ann, PASSWORD, HOME)  # the right one waits as well
            assert (refused.status, refused.code) == (429, "rate_limited")
            wait = refused.json["error"]["retryAfterMs"] / 1000
            assert refused.headers["retry-after"] == str(round(wait))
            assert refused.headers["ratelimit-remaining"] == "0"
            waits.append(wait)
            await trio.sleep(wait - 0.1)
            assert (await log_in(site, ann, PASSWORD, HOME)).status == 429  # not before
            await trio.sleep(0.1)
        assert waits == [*(2**each for each in range(10)), MAX_DELAY, MAX_DELAY]
        assert (await log_in(site, ann, PASSWORD, HOME)).status == 200  # and then
        assert (await log_in(site, ann, WRONG, HOME)).status == 401
        assert (await log_in(site, ann, WRONG, HOME)).json["error"]["retryAfterMs"] == 1000


@pytest.mark.threat("T77")
async def test_an_attacker_at_one_address_keeps_the_owner_out_of_no_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        ann = await site.register("ann")
        for _ in range(12):
            await log_in(site, ann, WRONG, "198.51.100.1")
            await trio.sleep(MAX_DELAY)
        await log_in(site, ann, WRONG, "198.51.100.1")
        assert (await log_in(site, ann, PASSWORD, "198.51.100.1")).status == 429
        assert (await log_in(site, ann, PASSWORD, HOME)).status == 200


@pytest.mark.threat("T76")
async def test_an_unknown_address_is_delayed_like_a_known_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        await site.register("ann")
        told = []
        for email in ("ann@example.com", "nobody@example.com"):
            answers = [await log_in(site, email, WRONG, HOME) for _ in range(3)]
            bodies = [answer.json["error"] | {"requestId": ""} for answer in answers]
            told.append(
                [(answer.status, body) for answer, body in zip(answers, bodies, strict=True)]
            )
        assert told[0] == told[1]
        assert [status for status, _ in told[0]] == [401, 429, 429]


@pytest.mark.threat("T77")
async def test_a_thousand_addresses_guess_at_one_account_as_slowly_as_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        ann = await site.register("ann")
        for address in attackers(1000):
            await log_in(site, ann, WRONG, address)
        assert site.passwords.checks == 4
        # Its owner waits as everybody does, but not on a device that was logged in before.
        assert (await log_in(site, ann, PASSWORD, HOME)).status == 429
        token = ann.tokens.device_token
        known = await log_in(site, ann, PASSWORD, HOME, deviceToken=token)
        assert known.status == 200
        again = Tokens.model_validate(known.json)
        assert again.device_id != ann.tokens.device_id


async def test_a_known_device_that_guesses_is_delayed_by_itself(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        ann = await site.register("ann")
        token = ann.tokens.device_token
        assert (await log_in(site, ann, WRONG, HOME, deviceToken=token)).status == 401
        for address in attackers(20):  # wherever it takes the token to
            refused = await log_in(site, ann, WRONG, address, deviceToken=token)
            assert refused.status == 429
        assert (await log_in(site, ann, PASSWORD, HOME)).status == 200


async def test_a_device_token_that_is_not_this_accounts_proves_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        ann, ben = await site.register("ann"), await site.register("ben")
        for address in attackers(20):
            await log_in(site, ann, WRONG, address)
        own = ann.tokens.device_token
        foreign_key = AccessTokens([SigningKey("test", b"f" * 40)], 900)
        forged = foreign_key.device_token(ann.tokens.user.id, ann.tokens.device_id)
        for token in (ben.tokens.device_token, forged, own[:-4], own[:-4] + "AAAA", "", "?" * 64):
            refused = await log_in(site, ann, PASSWORD, HOME, deviceToken=token)
            assert refused.status == 429, token
        assert (await log_in(site, ann, PASSWORD, HOME, deviceToken=own)).status == 200


async def test_many_guesses_at_once_are_not_more_than_one_after_another(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    settings = PROXIED | {"pair_login_rate": "3/min burst 5"}
    async with open_site(tmp_path, **settings) as site:
        ann = await site.register("ann")

        async def guess() -> None:
            await log_in(site, ann, WRONG, HOME)

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(guess)
        assert site.passwords.checks == 5
        await trio.sleep(6)  # the operation has a rate of its own
        refused = await log_in(site, ann, WRONG, HOME)
        assert refused.json["error"]["retryAfterMs"] == 10_000  # of 16 s: all five counted


# Rates


@pytest.mark.parametrize(
    ("setting", "same_account", "same_address", "expected"),
    [
        ("pair_login_rate", True, True, [200, 200, 429]),
        ("pair_login_rate", True, False, [200, 200, 200]),
        ("account_login_rate", True, False, [200, 200, 429]),
        ("account_login_rate", False, True, [200, 200, 200]),
        ("total_login_rate", False, False, [200, 200, 429]),
        ("login_rate", False, True, [200, 200, 429]),
    ],
)
async def test_logins_have_a_rate_by_pair_account_address_and_all_together(
    tmp_path: Path,
    autojump_clock: MockClock,
    setting: str,
    same_account: bool,
    same_address: bool,
    expected: list[int],
) -> None:
    async with open_site(tmp_path, **(PROXIED | {setting: "1/min burst 2"})) as site:
        people = [await site.register(name) for name in ("ann", "ben", "cat")]
        statuses = []
        for number in range(3):
            person = people[0 if same_account else number]
            address = HOME if same_address else f"203.0.113.{number}"
            statuses.append((await log_in(site, person, PASSWORD, address)).status)
        assert statuses == expected
        if 429 in expected:
            token = person.tokens.device_token
            known = await log_in(site, person, PASSWORD, address, deviceToken=token)
            assert known.status == (429 if setting == "login_rate" else 200)
            await trio.sleep(60)
            assert (await log_in(site, person, PASSWORD, address)).status == 200


# The second factor, and passwords of who is logged in


async def test_wrong_codes_are_delayed_over_all_challenges_and_a_known_device_is_not_by_others(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        ann = await (await site.register("ann")).enroll()
        token = ann.tokens.device_token
        for address in attackers(10):  # who know the password
            answer = await log_in(site, ann, PASSWORD, address)
            body = {"challenge": answer.json["error"]["details"]["challenge"], "code": "000000"}
            guessed = await post(site, "/auth/login/totp", body, address)
        assert guessed.status == 429
        assert "retry-after" in guessed.headers
        unknown, known = [
            (await log_in(site, ann, PASSWORD, HOME, **more)).json["error"]["details"]["challenge"]
            for more in ({}, {"deviceToken": token})
        ]
        body = {"challenge": unknown, "code": ann.code()}
        assert (await post(site, "/auth/login/totp", body, HOME)).status == 429
        body = {"challenge": known, "code": ann.code()}
        assert (await post(site, "/auth/login/totp", body, HOME)).status == 200


async def test_a_refused_try_costs_the_challenge_none_of_its_tries(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        ann = await (await site.register("ann")).enroll()
        challenge = await ann.challenge()
        first = await site.finish(challenge, code=ann.code(300))
        assert first.json["error"]["details"]["triesLeft"] == 4
        for _ in range(8):
            assert (await site.finish(challenge, code=ann.code(300))).status == 429
        await trio.sleep(1)
        second = await site.finish(challenge, code=ann.code(300))
        assert second.json["error"]["details"]["triesLeft"] == 3


async def test_who_is_logged_in_and_guesses_the_password_is_delayed_and_other_logins_are_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, **PROXIED) as site:
        ann = await site.register("ann")
        thief = Tokens.model_validate((await ann.log_in()).json).access_token
        statuses = [
            (await site.world.rest("POST", "/auth/totp", {"password": WRONG}, token=thief)).status
            for _ in range(3)
        ]
        assert statuses == [403, 429, 429]
        right = await site.world.rest("POST", "/auth/totp", {"password": PASSWORD}, token=thief)
        assert right.status == 429
        assert (await ann.ask("POST", "/auth/totp", {"password": PASSWORD})).status == 200
        assert (await log_in(site, ann, PASSWORD, HOME)).status == 200


# How many logins: T79


@pytest.mark.threat("T79")
async def test_one_login_too_many_ends_the_one_used_least_lately_and_its_sockets(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path, max_logins_per_user=3) as site:
        ann = await site.register("ann")
        second = Tokens.model_validate((await ann.log_in()).json)
        async with site.world.socket(second.access_token) as socket:
            await socket.event("connection:ready")
            await trio.sleep(1)
            refresh = {"refreshToken": ann.tokens.refresh_token}
            refreshed = await site.world.rest("POST", "/auth/refresh", refresh)
            assert refreshed.json["deviceToken"] == ann.tokens.device_token
            await ann.log_in()
            ids = {each["id"] for each in (await ann.ask("GET", "/auth/devices")).json["devices"]}
            assert str(second.device_id) in ids
            await ann.log_in()
            assert await socket.closed() == 4403
        devices = (await ann.ask("GET", "/auth/devices")).json["devices"]
        assert len(devices) == 3
        assert str(second.device_id) not in {device["id"] for device in devices}
        gone = await site.world.rest("GET", "/auth/me", token=second.access_token)
        assert gone.status == 401
        assert "login_displaced" in await ann.acts()


async def test_a_login_brings_nothing_of_before_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await site.register("ann")
        answer = await ann.log_in(deviceToken=ann.tokens.device_token)
        new = Tokens.model_validate(answer.json)
        assert new.device_id != ann.tokens.device_id
        assert new.refresh_token != ann.tokens.refresh_token
        services = site.services
        one, two = (
            services.tokens.verify(each.access_token, services.now()) for each in (ann.tokens, new)
        )
        assert one.family_id != two.family_id
