"""The second factor by REST: set up, used at a login, taken away (protocol.md section 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from chatd.events.accounts import Tokens
from chatd.handlers.authenticator import CHALLENGE_TTL
from chatd.handlers.second_factor import MAX_TRIES
from chatd.store.memory import MemoryStore
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.http_kit import Answer
from tests.second_factor_kit import PASSWORD, STEP, Account, Site, open_site

KEY_1, KEY_2 = "k1:" + "1" * 40, "k2:" + "2" * 40


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


async def state(person: Account) -> dict[str, Any]:
    answer = await person.ask("GET", "/auth/totp")
    shown: dict[str, Any] = answer.json
    return shown


# Setting it up


async def test_it_counts_when_it_is_confirmed_and_not_before(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await site.register("ann")
        off = {"enabled": False, "confirmedAt": None, "recoveryCodesLeft": 0}
        assert await state(ann) == off
        begun = await ann.ask("POST", "/auth/totp", {"password": PASSWORD})
        ann.secret = begun.json["secret"]
        assert f"secret={ann.secret}" in begun.json["uri"]
        assert await state(ann) == off
        assert (await ann.log_in()).status == 200
        confirmed = await ann.ask("POST", "/auth/totp/confirm", {"code": ann.code()})
        assert len(set(confirmed.json["recoveryCodes"])) == 10
        on = await state(ann)
        assert (on["enabled"], on["recoveryCodesLeft"]) == (True, 10)
        assert told(await ann.log_in()) == (401, "second_factor_required")
        assert (await ann.ask("GET", "/auth/me")).status == 200  # open logins go on


async def test_it_is_not_set_up_without_the_password_nor_confirmed_with_a_wrong_code(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await site.register("ann")
        wrong = await ann.ask("POST", "/auth/totp", {"password": "wrong horse battery"})
        assert told(wrong) == (403, "forbidden")
        nothing = await ann.ask("POST", "/auth/totp/confirm", {"code": "123456"})
        assert told(nothing) == (409, "conflict")
        begun = await ann.ask("POST", "/auth/totp", {"password": PASSWORD})
        ann.secret = begun.json["secret"]
        other = f"{(int(ann.code()) + 1) % 1_000_000:06}"
        assert told(await ann.ask("POST", "/auth/totp/confirm", {"code": other})) == (
            403,
            "forbidden",
        )
        assert (await ann.log_in()).status == 200


async def test_the_secret_given_last_is_the_one_that_is_confirmed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await site.register("ann")
        first, second = [
            (await ann.ask("POST", "/auth/totp", {"password": PASSWORD})).json["secret"]
            for _ in range(2)
        ]
        ann.secret = first
        refused = await ann.ask("POST", "/auth/totp/confirm", {"code": ann.code()})
        assert told(refused) == (403, "forbidden")
        ann.secret = second
        confirmed = await ann.ask("POST", "/auth/totp/confirm", {"code": ann.code()})
        assert confirmed.status == 200
        again = await ann.ask("POST", "/auth/totp", {"password": PASSWORD})
        assert told(again) == (409, "conflict")


async def test_an_account_without_a_password_is_told_who_asks_for_its_second_factor(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await site.world.person("ann")
        token = site.world.token(ann)
        answer = await site.world.rest("POST", "/auth/totp", {"password": ""}, token=token)
        assert told(answer) == (409, "conflict")
        assert site.passwords.checks == 0


# At a login


async def test_a_login_has_no_tokens_until_the_second_factor_is_shown(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        answer = await ann.log_in()
        error = answer.json["error"]
        assert set(answer.json) == {"error"}
        assert set(error["details"]) == {"challenge", "expiresAt", "methods"}
        assert error["details"]["methods"] == ["totp", "recovery_code"]
        assert b"accessToken" not in answer.body
        challenge = error["details"]["challenge"]
        assert (await site.world.rest("GET", "/auth/me", token=challenge)).status == 401
        done = await site.finish(challenge, code=ann.code())
        tokens = Tokens.model_validate(done.json)
        assert tokens.device_id != ann.tokens.device_id
        me = await site.world.rest("GET", "/auth/me", token=tokens.access_token)
        assert me.json["user"]["email"] == ann.email


@pytest.mark.parametrize("ahead", [-STEP, 0, STEP])
async def test_a_code_is_good_once(tmp_path: Path, autojump_clock: MockClock, ahead: int) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        await trio.sleep(2 * STEP)
        code = ann.code(ahead)
        assert (await site.finish(await ann.challenge(), code=code)).status == 200
        replayed = await site.finish(await ann.challenge(), code=code)
        assert told(replayed) == (401, "unauthorized")
        earlier = await site.finish(await ann.challenge(), code=ann.code(ahead - STEP))
        assert told(earlier) == (401, "unauthorized")
        await trio.sleep(2 * STEP)
        assert (await site.finish(await ann.challenge(), code=ann.code())).status == 200


async def test_a_code_that_was_shown_two_steps_ago_is_too_old(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        code, challenge = ann.code(), await ann.challenge()
        await trio.sleep(2 * STEP)
        assert told(await site.finish(challenge, code=code)) == (401, "unauthorized")


async def test_the_code_that_confirmed_it_logs_nobody_in(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        challenge = await ann.challenge()
        spent = await site.finish(challenge, code=ann.code(-STEP))
        assert told(spent) == (401, "unauthorized")


async def test_after_five_wrong_codes_the_password_is_asked_for_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        challenge = await ann.challenge()
        wrong = f"{(int(ann.code()) + 1) % 1_000_000:06}"
        left = []
        for _ in range(MAX_TRIES):
            answer = await site.finish(challenge, code=wrong)
            assert told(answer) == (401, "unauthorized")
            left.append(answer.json["error"]["details"]["triesLeft"])
        assert left == [4, 3, 2, 1, 0]
        dead = await site.finish(challenge, code=ann.code())
        assert told(dead) == (401, "unauthorized")
        assert "details" not in dead.json["error"]
        assert (await site.finish(await ann.challenge(), code=ann.code())).status == 200
        assert (await ann.acts()).count("code_refused") == MAX_TRIES


async def test_a_challenge_is_good_for_five_minutes_and_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        early, late = await ann.challenge(), await ann.challenge()
        await trio.sleep(CHALLENGE_TTL - 1)
        assert (await site.finish(early, code=ann.code())).status == 200
        await trio.sleep(1)
        code = await ann.next_code()
        assert told(await site.finish(early, code=code)) == (401, "unauthorized")
        assert told(await site.finish(late, code=code)) == (401, "unauthorized")


@pytest.mark.parametrize("end", ["password", "logout-all", "disabled"])
async def test_a_challenge_ends_with_what_it_stands_on(
    tmp_path: Path, autojump_clock: MockClock, end: str
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        challenge = await ann.challenge()
        if end == "password":
            await site.services.store.set_password(ann.tokens.user.id, "plain new", site.now())
        elif end == "logout-all":
            assert (await ann.ask("POST", "/auth/logout-all")).status == 200
        else:
            both = {"password": PASSWORD, "recoveryCode": ann.recovery_codes[0]}
            assert (await ann.ask("DELETE", "/auth/totp", both)).status == 200
        answer = await site.finish(challenge, code=ann.code())
        assert told(answer) == (401, "unauthorized")


async def test_a_challenge_of_an_earlier_password_is_dead_though_it_is_still_stored(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    class Forgetful(MemoryStore):
        """Changes a password and leaves everything else as it is."""

        def _revoke(self, user_id: Any, at: Any, kept_id: Any = None) -> Any:
            del user_id, at, kept_id
            return []

    store = Forgetful()
    async with open_site(tmp_path, store) as site:
        ann = await (await site.register("ann")).enroll()
        challenge = await ann.challenge()
        await store.set_password(ann.tokens.user.id, f"plain {PASSWORD} ", site.now())
        assert told(await site.finish(challenge, code=ann.code())) == (401, "unauthorized")
        await store.set_password(ann.tokens.user.id, f"plain {PASSWORD}", site.now())
        assert (await site.finish(challenge, code=ann.code())).status == 200


async def test_a_challenge_takes_the_codes_of_its_own_account_alone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        ben = await (await site.register("ben")).enroll()
        challenge = await ann.challenge()
        for proof in ({"code": ben.code()}, {"recoveryCode": ben.recovery_codes[0]}):
            assert told(await site.finish(challenge, **proof)) == (401, "unauthorized")
        unknown = await site.finish("x" * 43, code=ann.code())
        assert told(unknown) == (401, "unauthorized")
        done = await site.finish(challenge, code=ann.code())
        assert Tokens.model_validate(done.json).user.email == ann.email
        assert (await site.finish(await ben.challenge(), code=ben.code())).status == 200


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"code": "12345"},
        {"code": "1234567"},
        {"code": "12345a"},
        {"code": "١٢٣٤٥٦"},
        {"code": 123456},
        {"code": "123456", "recoveryCode": "aaaa"},
        {"recoveryCode": "x" * 65},
        {"recoveryCode": "ä"},
    ],
)
async def test_what_is_no_code_is_refused_and_costs_no_try(
    tmp_path: Path, autojump_clock: MockClock, proof: dict[str, Any]
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        challenge = await ann.challenge()
        for _ in range(MAX_TRIES):
            assert told(await site.finish(challenge, **proof)) == (422, "validation_failed")
        assert (await site.finish(challenge, code=ann.code())).status == 200


async def test_a_recovery_code_stands_in_once_however_it_is_typed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        code = ann.recovery_codes[0]
        typed = code.upper().replace("-", " ")
        assert (await site.finish(await ann.challenge(), recoveryCode=typed)).status == 200
        again = await site.finish(await ann.challenge(), recoveryCode=code)
        assert told(again) == (401, "unauthorized")
        assert (await state(ann))["recoveryCodesLeft"] == 9
        other = ann.recovery_codes[1]
        assert (await site.finish(await ann.challenge(), recoveryCode=other)).status == 200
        entries = (await ann.ask("GET", "/users/me/audit")).json["entries"]
        used = [each["details"] for each in entries if each["action"] == "recovery_code_used"]
        assert used == [{"codesLeft": 8}, {"codesLeft": 9}]


async def test_new_recovery_codes_end_the_old_ones(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        old = ann.recovery_codes[0]
        both = {"password": PASSWORD, "code": ann.code()}
        made = await ann.ask("POST", "/auth/totp/recovery-codes", both)
        assert len(made.json["recoveryCodes"]) == 10
        refused = await site.finish(await ann.challenge(), recoveryCode=old)
        assert told(refused) == (401, "unauthorized")
        new = made.json["recoveryCodes"][0]
        assert (await site.finish(await ann.challenge(), recoveryCode=new)).status == 200
        assert "recovery_codes_renewed" in await ann.acts()


# Taking it away


async def test_it_is_taken_away_with_password_and_code_and_with_nothing_less(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        for path, method in (("/auth/totp", "DELETE"), ("/auth/totp/recovery-codes", "POST")):
            for body, expected in (
                ({"password": "wrong horse battery", "code": ann.code()}, (403, "forbidden")),
                ({"password": PASSWORD, "code": ann.code(300)}, (403, "forbidden")),
                ({"password": PASSWORD}, (422, "validation_failed")),
                ({"code": ann.code()}, (422, "validation_failed")),
            ):
                assert told(await ann.ask(method, path, body)) == expected
        both = {"password": PASSWORD, "code": ann.code()}
        assert (await ann.ask("DELETE", "/auth/totp", both)).status == 200
        assert (await ann.log_in()).status == 200
        assert told(await ann.ask("DELETE", "/auth/totp", both)) == (409, "conflict")
        acts = await ann.acts()
        assert [act for act in acts if "second_factor" in act] == [
            "second_factor_disabled",
            "second_factor_enabled",
        ]
        assert (await ann.ask("GET", "/auth/me")).status == 200
        await ann.enroll()  # it can be set up again


async def test_the_end_of_the_account_ends_it(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_site(tmp_path) as site:
        ann = await (await site.register("ann")).enroll()
        challenge = await ann.challenge()
        body = {"password": PASSWORD, "messages": "KEEP_ANONYMOUS"}
        assert (await ann.ask("DELETE", "/users/me", body)).status == 202
        assert told(await site.finish(challenge, code=ann.code())) == (401, "unauthorized")
        assert await site.services.store.second_factor(ann.tokens.user.id) is None


# Races


async def test_of_two_logins_with_one_code_one_wins_on_postgresql(
    tmp_path: Path, database_url: str
) -> None:
    with trio.fail_after(20):
        async with (
            open_pool(database_url, size=6) as pool,
            open_site(tmp_path, PostgresStore(pool)) as site,
        ):
            ann = await site.register("ann")
            begun = await ann.ask("POST", "/auth/totp", {"password": PASSWORD})
            ann.secret = begun.json["secret"]
            confirm = {"code": ann.code()}
            confirmed = await ann.ask("POST", "/auth/totp/confirm", confirm)
            code = ann.code(STEP)
            for proof in (
                {"code": code},
                {"recoveryCode": confirmed.json["recoveryCodes"][0]},
            ):
                one = await ann.challenge()
                for challenges in ([one, one, one], [await ann.challenge() for _ in range(4)]):
                    statuses = await _at_once(site, challenges, proof)
                    # The second round comes with what the first has spent.
                    expected = [200] if challenges[0] == one else []
                    assert [each for each in statuses if each == 200] == expected


async def _at_once(site: Site, challenges: list[str], proof: dict[str, str]) -> list[int]:
    statuses: list[int] = []

    async def finish(challenge: str) -> None:
        statuses.append((await site.finish(challenge, **proof)).status)

    async with trio.open_nursery() as nursery:
        for challenge in challenges:
            nursery.start_soon(finish, challenge)
    return sorted(statuses)


# At rest


async def test_the_secret_is_stored_sealed_and_follows_the_signing_key(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_site(tmp_path, store, signing_keys=(KEY_1,)) as site:
        ann = await (await site.register("ann")).enroll()
        user_id = ann.tokens.user.id
        row = await store.second_factor(user_id)
        assert row is not None
        assert row.key_id == "k1"
        assert ann.secret.encode() not in row.secret
    for keys in ((KEY_2, KEY_1), (KEY_2,)):  # the operator rotates, then drops the old key
        async with open_site(tmp_path, store, signing_keys=keys) as site:
            ann.site = site
            row = await store.second_factor(user_id)
            assert row is not None
            assert row.key_id == "k2"
            # The clock of a test begins anew with each daemon, and codes of before are spent.
            later = site.now(86_400 - 3600 * len(keys))
            site.services.now = lambda later=later: later  # type: ignore[misc]
            assert (await site.finish(await ann.challenge(), code=ann.code())).status == 200


async def test_without_its_key_a_code_is_unavailable_and_a_recovery_code_is_good(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_site(tmp_path, store, signing_keys=(KEY_1,)) as site:
        ann = await (await site.register("ann")).enroll()
        ben = await (await site.register("ben")).enroll()
        assert ben.secret
    with capture_logs() as logs:
        async with open_site(tmp_path, store, signing_keys=(KEY_2,)) as site:
            ann.site = site
            challenge = await ann.challenge()
            answer = await site.finish(challenge, code=ann.code())
            assert told(answer) == (503, "unavailable")
            recovery = ann.recovery_codes[0]
            assert (await site.finish(challenge, recoveryCode=recovery)).status == 200
    counts = [line["count"] for line in logs if "signing key is gone" in line["event"]]
    assert counts == [2]


async def test_no_log_line_and_no_audit_entry_holds_a_secret(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    with capture_logs() as logs:
        async with open_site(tmp_path, store) as site:
            ann = await (await site.register("ann")).enroll()
            challenge, code = await ann.challenge(), ann.code()
            await site.finish(challenge, code=ann.code(300))
            await site.finish(challenge, recoveryCode="aaaa-bbbb-cccc-dddd")
            assert (await site.finish(challenge, code=code)).status == 200
    written = f"{logs} {store.audit}"
    for secret in (ann.secret, challenge, code, *ann.recovery_codes, PASSWORD):
        assert secret not in written
