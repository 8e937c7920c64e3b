"""Bans, invites and the audit log, as people see them (protocol.md section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock

from chatd.model import iso
from tests.people import Client, open_world
from tests.test_members import enter
from tests.test_sessions import create, names, people


async def refused(client: Client, event: str, **data: Any) -> dict[str, Any]:
    """Return the error with which a request is refused."""
    answer = await client.answer(await client.emit(event, **data))
    error: dict[str, Any] = answer["error"]
    return error


async def test_who_is_banned_hears_it_on_every_socket_and_stays_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            session_id = await create(a, "PUBLIC", bert)
            who = {"sessionId": session_id, "userId": str(bert.id)}
            for client in (a, b):
                await client.ask("session:join", sessionId=session_id)
            for client in (a, b, b2):
                await client.heard()
            answer = await a.ask("member:ban", **who, reason="spam")
            assert answer["ban"]["user"]["id"] == str(bert.id)
            assert (answer["ban"]["reason"], answer["ban"]["until"]) == ("spam", None)
            [left] = await a.heard("member:left")
            assert (left["seq"], left["by"]) == (1, str(anna.id))
            for client in (b, b2):
                [end] = await client.heard("session:removed")
                assert end == {"sessionId": session_id, "reason": "banned"}
            invite = (await a.ask("invite:make", sessionId=session_id))["invite"]
            details = {"bannedUntil": None, "reason": "spam"}
            for client, event, data in (
                (b, "member:add", {"sessionId": session_id}),
                (a, "member:add", who),
                (b, "invite:accept", {"code": invite["code"]}),
            ):
                error = await refused(client, event, **data)
                assert (error["code"], error["details"]) == ("forbidden", details)
            [shown] = (await a.ask("ban:list", sessionId=session_id))["bans"]
            assert shown == answer["ban"]
            await a.ask("member:unban", **who)
            assert (await refused(a, "member:unban", **who))["code"] == "not_found"
            await b.ask("member:add", sessionId=session_id)


async def test_a_ban_with_an_end_ends(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "PUBLIC")
            end = world.server.now.replace(microsecond=0)
            end = end.replace(minute=(end.minute + 1) % 60, hour=end.hour + (end.minute == 59))
            who = {"sessionId": session_id, "userId": str(bert.id)}
            await a.ask("member:ban", **who, until=iso(end))
            error = await refused(b, "member:add", sessionId=session_id)
            assert error["details"] == {"bannedUntil": iso(end), "reason": None}
            await trio.sleep(61)
            await b.ask("member:add", sessionId=session_id)
            assert (await a.ask("ban:list", sessionId=session_id))["bans"] == []


async def test_bans_that_may_not_be_are_refused(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        session_id = str(await world.session(anna, carol))
        direct = str(await world.session(anna, bert, kind="DIRECT"))
        await enter(world, session_id, bert, "ADMIN")
        async with world.connect(bert) as b, world.connect(carol) as c:
            here, target = {"sessionId": session_id}, {"userId": str(carol.id)}
            past = {"until": "1999-01-01T00:00:00Z"}
            assert await b.refusal("member:ban", **here, userId=str(anna.id)) == "forbidden"
            assert await b.refusal("member:ban", **here, userId=str(bert.id)) == "conflict"
            assert await b.refusal("member:ban", **here, userId=str(uuid4())) == "not_found"
            assert await b.refusal("member:ban", **here, **target, **past) == "validation_failed"
            assert await b.refusal("member:ban", sessionId=direct, **target) == "conflict"
            assert await c.refusal("member:ban", **here, userId=str(bert.id)) == "forbidden"
            assert await c.refusal("ban:list", **here) == "forbidden"


async def test_bans_are_listed_page_by_page(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with world.connect(anna) as a:
            session_id = await create(a)
            for user in (bert, carol):
                await a.ask("member:ban", sessionId=session_id, userId=str(user.id))
            first = await a.ask("ban:list", sessionId=session_id, limit=1)
            after = first["nextAfter"]
            second = await a.ask("ban:list", sessionId=session_id, limit=1, after=after)
            seen = [page["bans"][0]["user"]["id"] for page in (first, second)]
            assert (seen, second["nextAfter"]) == (sorted([str(bert.id), str(carol.id)]), None)


# Invites


async def test_an_invite_lets_a_stranger_in_who_sees_where_it_leads(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(carol) as c:
            session_id = await create(a)
            await a.ask("session:join", sessionId=session_id)
            await a.heard()
            made = await a.ask(
                "invite:make", sessionId=session_id, maxUses=1, expiresInMs=60_000, role="READ_ONLY"
            )
            code = made["invite"]["code"]
            assert len(code) * 6 >= 128
            shown = await b.ask("invite:preview", code=code)
            assert (shown["name"], shown["memberCount"], shown["kind"]) == ("tea", 1, "GROUP")
            answer = await b.ask("invite:accept", code=code)
            assert (answer["session"]["id"], answer["session"]["memberCount"]) == (session_id, 2)
            [joined] = await a.heard("member:joined")
            assert joined["member"]["role"] == "READ_ONLY"
            assert names(await b.heard())[-1] == "session:updated"
            await b.ask("session:join", sessionId=session_id)
            assert (await b.ask("invite:accept", code=code))["session"]["id"] == session_id
            assert await a.heard("member:joined") == []
            for event in ("invite:preview", "invite:accept"):
                assert await c.refusal(event, code=code) == "not_found"


async def test_invites_that_are_over_or_never_were_answer_alike(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a)
            codes = []
            for limits in ({"expiresInMs": 1000}, {}, {"maxUses": 5}):
                made = await a.ask("invite:make", sessionId=session_id, **limits)
                codes.append(made["invite"]["code"])
            expired, revoked, live = codes
            await a.ask("invite:revoke", sessionId=session_id, code=revoked)
            await trio.sleep(1.1)
            errors = []
            for code in (expired, revoked, "A" * 24, "short", "é" * 24):
                for event in ("invite:preview", "invite:accept"):
                    error = await refused(b, event, code=code)
                    del error["requestId"]
                    errors.append(error)
            assert errors[0]["code"] == "not_found"
            assert all(error == errors[0] for error in errors)
            listed = await a.ask("invite:list", sessionId=session_id)
            assert [row["code"] for row in listed["invites"]] == [live]
            code = await a.refusal("invite:revoke", sessionId=session_id, code=revoked)
            assert code == "not_found"


async def test_members_do_not_make_see_or_revoke_invites(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            code = (await a.ask("invite:make", sessionId=session_id))["invite"]["code"]
            for event, data in (
                ("invite:make", {}),
                ("invite:list", {}),
                ("invite:revoke", {"code": code}),
                ("session:audit", {}),
            ):
                assert await b.refusal(event, sessionId=session_id, **data) == "forbidden"
            direct = await create(a, "DIRECT", bert)
            assert await a.refusal("invite:make", sessionId=direct) == "conflict"
            for wrong in ({"maxUses": 0}, {"expiresInMs": 10}, {"role": "ADMIN"}):
                refusal = await a.refusal("invite:make", sessionId=session_id, **wrong)
                assert refusal == "validation_failed"


async def test_a_hundred_live_invites_are_enough(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, _, _ = await people(world)
        async with world.connect(anna) as a:
            session_id = await create(a)
            for _ in range(100):
                await a.ask("invite:make", sessionId=session_id)
            assert await a.refusal("invite:make", sessionId=session_id) == "conflict"


async def test_codes_are_tried_at_a_persons_pace(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, rate_limits="on") as world:
        anna, _, _ = await people(world)
        async with world.connect(anna) as a:
            codes = [await a.refusal("invite:preview", code="A" * 24) for _ in range(21)]
            assert codes == ["not_found"] * 20 + ["rate_limited"]


@pytest.mark.parametrize("seed", range(10))
async def test_of_many_who_accept_at_once_as_many_get_in_as_it_says(
    tmp_path: Path, autojump_clock: MockClock, seed: int
) -> None:
    async with open_world(tmp_path) as world:
        owner = await world.person("owner")
        guests = [await world.person(f"guest{number}") for number in range(8)]
        uses = seed % 4 + 1
        async with world.connect(owner) as o:
            session_id = await create(o)
            made = await o.ask("invite:make", sessionId=session_id, maxUses=uses)
            code, entered = made["invite"]["code"], []

            async def accept(number: int) -> None:
                async with world.connect(guests[number]) as client:
                    answer = await client.answer(await client.emit("invite:accept", code=code))
                    entered.append(answer["ok"])

            async with trio.open_nursery() as nursery:
                for number in range(len(guests)):
                    nursery.start_soon(accept, number)
            assert sum(entered) == uses
            session = (await o.ask("session:get", sessionId=session_id))["session"]
            assert (session["memberCount"], session["seq"]) == (uses + 1, uses)


# The audit log, and REST


async def test_moderation_by_rest_stands_in_the_audit_log(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        session_id = str(await world.session(anna, bert))
        path, token = f"/chat/sessions/{session_id}", world.token(anna)

        async def ask(method: str, rest: str, body: Any = None, *, by: str = token) -> Any:
            answer = await world.rest(method, rest, body, token=by)
            assert answer.status in {200, 201}, answer.body
            return answer.json

        await ask("PATCH", f"{path}/members/{bert.id}", {"role": "READ_ONLY"})
        await ask("PATCH", path, {"readOnly": True})
        await ask("PATCH", f"{path}/me", {"muted": True})
        await ask("POST", f"{path}/bans", {"userId": str(bert.id)})
        await ask("DELETE", f"{path}/bans/{bert.id}")
        code = (await ask("POST", f"{path}/invites", {}))["invite"]["code"]
        await ask("GET", f"/chat/invites/{code}", by=world.token(carol))
        await ask("POST", f"/chat/invites/{code}", by=world.token(carol))
        await ask("DELETE", f"{path}/invites/{code}")
        page = await ask("GET", f"{path}/audit?limit=4")
        actions = [entry["action"] for entry in page["entries"]]
        assert actions == ["invite_revoked", "invite_made", "member_unbanned", "member_banned"]
        assert page["entries"][3]["targetId"] == str(bert.id)
        page = await ask("GET", f"{path}/audit?before={page['nextBefore']}")
        assert [entry["action"] for entry in page["entries"]] == ["session_updated", "member_role"]
        assert page["nextBefore"] is None
