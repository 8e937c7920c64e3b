"""API tokens: what they may do, on which wire, and how they end (protocol.md section 2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from chatd.api_tokens import PREFIX, SCOPES, is_api_token, new_api_token
from chatd.bearers import ASK_RATE, REMEMBER_SECONDS, REMEMBERED
from chatd.errors import CloseCode, StoreAmbiguous, StoreUnavailable
from chatd.events.api_tokens import ApiTokenMade, ApiTokens, Bots
from chatd.handlers.catalogue import OPERATIONS
from chatd.handlers.scopes import CLOSED, SCOPE_OF
from chatd.ids import bot_id, is_bot, uuid7
from chatd.model import iso
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from chatd.testing.server import START
from chatd.testing.socket import Refused, SocketClosed, Wire, open_person_socket
from tests.http_kit import Answer
from tests.people import World, open_world
from tests.second_factor_kit import PASSWORD, open_site

ALL = list(SCOPES)


async def make(world: World, user: UserRow, *scopes: str, **more: Any) -> ApiTokenMade:
    body = {"name": "ci", "scopes": scopes or ALL, **more}
    answer = await world.rest("POST", "/auth/tokens", body, token=world.token(user))
    assert answer.status == 201, answer.body
    return ApiTokenMade.model_validate(answer.json)


async def revoke(world: World, user: UserRow, token_id: UUID) -> Answer:
    return await world.rest("DELETE", f"/auth/tokens/{token_id}", token=world.token(user))


async def status_of(world: World, token: str) -> int:
    return (await world.rest("GET", "/auth/me", token=token)).status


# The text


def test_a_token_is_told_from_what_only_looks_like_one() -> None:
    token = new_api_token()
    assert token.startswith(PREFIX)
    assert is_api_token(token)
    swapped = f"{PREFIX}{token[11]}{token[10]}{token[12:]}"
    for other in (token[:-1], f"{token}0", token.upper(), f"{PREFIX}", f"{token}\n"):
        assert not is_api_token(other)
    assert token[10] == token[11] or not is_api_token(swapped)
    assert len({new_api_token() for _ in range(100)}) == 100


def test_the_id_of_a_bot_says_so_and_stands_among_the_others_by_its_time() -> None:
    ids = [uuid7(), bot_id(), uuid7()]
    assert [is_bot(each) for each in ids] == [False, True, False]
    assert [each.version for each in ids] == [7, 8, 7]
    assert sorted(each.int >> 80 for each in ids) == [each.int >> 80 for each in ids]


# Scopes


def test_every_operation_has_a_scope_or_is_closed_to_tokens_and_not_both() -> None:
    named = {operation.name for operation in OPERATIONS if operation.needs_login}
    assert named == set(SCOPE_OF) | CLOSED
    assert not set(SCOPE_OF) & CLOSED


@pytest.mark.parametrize("name", sorted(CLOSED))
def test_what_decides_over_an_account_is_closed(name: str) -> None:
    [operation] = [each for each in OPERATIONS if each.name == name]
    assert operation.route is None or not operation.route.path.startswith("/chat/")


async def test_every_operation_asks_for_its_scope_and_takes_no_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        ann = await world.person("ann")
        tokens = {scope: (await make(world, ann, scope)).token for scope in SCOPES}
        lacking = {
            needed: (await make(world, ann, *(each for each in SCOPES if each != needed))).token
            for needed in SCOPES
        }
        for operation in OPERATIONS:
            if operation.route is None or not operation.needs_login:
                continue
            path = _filled(operation.route.path)
            needed = SCOPE_OF.get(operation.name)
            for scope, token in tokens.items():
                answer = await world.rest(operation.route.method, path, token=token)
                is_refused = answer.status == 403 and answer.code == "forbidden"
                assert is_refused is (scope != needed), (operation.name, scope, answer.body)
                details = answer.json.get("error", {}).get("details", {}) if is_refused else {}
                assert details.get("scope") == (needed if is_refused else None)
            if needed is not None:
                answer = await world.rest(operation.route.method, path, token=lacking[needed])
                assert answer.code == "forbidden", operation.name


def _filled(path: str) -> str:
    pieces = [
        str(uuid7()) if piece.startswith("<uuid") else "code" if piece.startswith("<") else piece
        for piece in path.split("/")
    ]
    return "/".join(pieces)


async def test_over_a_socket_the_same_scopes_count(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        ann = await world.person("ann")
        tea = str(await world.session(ann))
        reader = await make(world, ann, "read")
        writer = await make(world, ann, "read", "write")
        async with world.socket(reader.token) as r, world.socket(writer.token) as w:
            for socket in (r, w):
                ready = await socket.event("connection:ready")
                assert ready["expiresAt"] is None
                await socket.ask("session:join", sessionId=tea)
            assert await r.refusal("message:send", sessionId=tea, content="no") == "forbidden"
            await w.ask("message:send", sessionId=tea, content="yes")
            assert (await r.event("message:new"))["content"] == "yes"
            for closed in ("device:list", "auth:refresh"):
                assert await w.refusal(closed) == "forbidden"


async def test_a_socket_needs_the_scope_read(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        ann = await world.person("ann")
        made = await make(world, ann, "write", "manage")
        async with world.socket(made.token) as socket:
            assert await socket.closed() == 4501
        async with world.socket() as socket:
            assert await socket.refusal("auth", token=made.token) == "forbidden"
            assert await socket.closed() == 4501


async def told(world: World, token: str, wire: Wire) -> str:
    """Return what a client that is not let in is told to do."""
    try:
        async with open_person_socket(world.stream(), token, wire):
            return "welcome"
    except Refused:
        return "stay away"
    except SocketClosed as end:
        return "stay away" if end.code == CloseCode.NOT_AUTHENTICATED.code else "come back"


@pytest.mark.parametrize("wire", ["ws", "socketio"])
async def test_on_both_wires_a_token_opens_a_socket_that_its_end_closes(
    tmp_path: Path, autojump_clock: MockClock, wire: Wire
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        ann = await world.person("ann")
        made, blind = await make(world, ann), await make(world, ann, "write")
        assert await told(world, blind.token, wire) == "stay away"
        assert await told(world, new_api_token(), wire) == "stay away"
        store.fail_next("use_api_token", StoreUnavailable("away"))
        assert await told(world, made.token, wire) == "come back"
        async with open_person_socket(world.stream(), made.token, wire) as socket:
            await socket.ask("session:list")
            assert (await revoke(world, ann, made.api_token.id)).status == 200
            with pytest.raises(SocketClosed):
                await socket.ask("session:list")


# Its life


async def test_a_token_is_shown_once_and_stored_as_a_hash(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    with capture_logs() as logs:
        async with open_world(tmp_path, store) as world:
            ann = await world.person("ann")
            made = await make(world, ann, "write", "read", "read", name="deploys")
            assert made.api_token.scopes == ["read", "write"]
            assert await status_of(world, made.token) == 200
            async with world.socket(made.token) as socket:
                await socket.event("connection:ready")
            listed = await world.rest("GET", "/auth/tokens", token=world.token(ann))
            [row] = ApiTokens.model_validate(listed.json).tokens
            assert (row.id, row.name, row.user_id) == (made.api_token.id, "deploys", ann.id)
            secret = made.token.removeprefix(PREFIX)
            assert secret.encode() not in listed.body
            assert secret not in f"{logs} {vars(store)}"


async def test_revoking_ends_it_at_once_on_every_wire(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        ann, ben = await world.person("ann"), await world.person("ben")
        made, other = await make(world, ann), await make(world, ann)
        assert (await revoke(world, ben, made.api_token.id)).status == 404
        async with world.socket(made.token) as socket, world.socket(other.token) as spared:
            await socket.event("connection:ready")
            await spared.event("connection:ready")
            assert await status_of(world, made.token) == 200
            assert (await revoke(world, ann, made.api_token.id)).status == 200
            assert await status_of(world, made.token) == 401
            assert await socket.closed() == 4403
            await spared.ask("session:list")
        async with world.socket(made.token) as socket:
            assert await socket.closed() in {4403, 4501}
        assert (await revoke(world, ann, made.api_token.id)).status == 404
        await trio.sleep(3600)  # when nothing is remembered any more
        assert await status_of(world, made.token) == 401
        audit = await world.rest("GET", "/users/me/audit", token=world.token(ann))
        acts = [entry["action"] for entry in audit.json["entries"]]
        assert acts == ["api_token_revoked", "api_token_created", "api_token_created"]


async def test_what_is_revoked_while_the_store_is_asked_is_not_let_in_later(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    class Late(MemoryStore):
        """Answers after a while what it had at the beginning."""

        async def use_api_token(self, *args: Any, **more: Any) -> Any:
            row = await super().use_api_token(*args, **more)
            await trio.sleep(5)
            return row

    async with open_world(tmp_path, Late(), access_token_ttl=20) as world:
        ann = await world.person("ann")
        made = await make(world, ann)
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append(await status_of(world, made.token))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            assert (await revoke(world, ann, made.api_token.id)).status == 200
        for _ in range(40):  # over the end of both memories
            await ask()
            await trio.sleep(1)
        assert set(statuses) == {401}


async def test_a_lost_answer_of_the_store_revokes_as_well(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        ann = await world.person("ann")
        made = await make(world, ann)
        assert await status_of(world, made.token) == 200
        store.fail_next("revoke_api_token", StoreAmbiguous("lost"))
        assert (await revoke(world, ann, made.api_token.id)).status == 503
        assert await status_of(world, made.token) == 401


async def test_one_that_is_over_before_it_begins_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        ann = await world.person("ann")
        body = {"name": "ci", "scopes": ALL, "expiresAt": iso(world.server.now)}
        refused = await world.rest("POST", "/auth/tokens", body, token=world.token(ann))
        assert (refused.status, refused.code) == (422, "validation_failed")


async def test_the_end_of_a_token_is_exact(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        ann = await world.person("ann")
        made = await make(world, ann, expiresAt="2026-01-01T01:00:00Z")  # in an hour
        async with world.socket(made.token) as socket:
            ready = await socket.event("connection:ready")
            assert ready["expiresAt"] == "2026-01-01T01:00:00.000Z"
            await trio.sleep(3599 - (world.server.now - START).total_seconds())
            assert await status_of(world, made.token) == 200
            assert await socket.heard("auth:expiring") == []  # nothing renews it
            await trio.sleep(1.1)
            answer = await world.rest("GET", "/auth/me", token=made.token)
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert await socket.closed() == 4403


async def test_a_user_has_so_many(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, max_api_tokens=2) as world:
        ann = await world.person("ann")
        made = await make(world, ann)
        await make(world, ann)
        body = {"name": "ci", "scopes": ALL}
        refused = await world.rest("POST", "/auth/tokens", body, token=world.token(ann))
        assert (refused.status, refused.code) == (409, "conflict")
        await revoke(world, ann, made.api_token.id)
        await make(world, ann)


@pytest.mark.parametrize(
    "change",
    [{"scopes": []}, {"scopes": ["admin"]}, {"scopes": "read"}, {"name": ""}, {"isBot": True}],
)
async def test_a_token_that_may_not_be_is_refused(
    tmp_path: Path, autojump_clock: MockClock, change: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world:
        body = {"name": "ci", "scopes": ALL} | change
        token = world.token(await world.person("ann"))
        answer = await world.rest("POST", "/auth/tokens", body, token=token)
        assert (answer.status, answer.code) == (422, "validation_failed")


@pytest.mark.parametrize("how", ["logout-all", "erased", "set by the operator"])
async def test_a_token_ends_with_all_logins_and_with_the_account(
    tmp_path: Path, autojump_clock: MockClock, how: str
) -> None:
    async with open_site(tmp_path) as site:
        world, ann = site.world, await site.register("ann")
        body = {"name": "ci", "scopes": ALL}
        made = ApiTokenMade.model_validate((await ann.ask("POST", "/auth/tokens", body)).json)
        async with world.socket(made.token) as socket:
            await socket.event("connection:ready")
            assert await status_of(world, made.token) == 200
            assert (await ann.ask("POST", "/auth/logout")).status == 200
            assert await status_of(world, made.token) == 200  # one logout leaves it
            ann.tokens = ann.tokens.model_validate((await ann.log_in()).json)
            if how == "logout-all":
                assert (await ann.ask("POST", "/auth/logout-all")).status == 200
            elif how == "erased":
                goodbye = {"password": PASSWORD, "messages": "DELETE"}
                assert (await ann.ask("DELETE", "/users/me", goodbye)).status == 202
            else:  # by another process: what is remembered of the token ends by itself
                await world.store.set_password(ann.tokens.user.id, "x", site.now())
                await trio.sleep(REMEMBER_SECONDS)
            assert await status_of(world, made.token) == 401
            if how != "set by the operator":
                assert await socket.closed() == 4403


# What it costs


async def test_the_store_is_asked_once_a_minute_and_told_as_often(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        ann = await world.person("ann")
        made = await make(world, ann)
        start = trio.current_time()
        while trio.current_time() < start + 2 * REMEMBER_SECONDS - 1:
            assert await status_of(world, made.token) == 200
            await trio.sleep(1)
        assert store.calls["use_api_token"] == 2
        async with world.socket(made.token) as socket:
            await socket.event("connection:ready")
        assert store.calls["use_api_token"] == 2
        [row] = await store.api_tokens(ann.id)
        assert row.last_used_at is not None


async def test_what_is_remembered_is_bounded_and_who_asks_all_the_time_stays(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatd.bearers.REMEMBERED", 3)
    assert REMEMBERED > 3
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        ann = await world.person("ann")
        busy, *others = [(await make(world, ann)).token for _ in range(6)]
        for other in others:
            assert await status_of(world, busy) == await status_of(world, other) == 200
        assert store.calls["use_api_token"] == 6
        assert await status_of(world, others[0]) == 200
        assert store.calls["use_api_token"] == 7


async def test_texts_that_only_look_like_tokens_do_not_reach_the_store(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        for text in (PREFIX, f"{PREFIX}{'0' * 72}", f"{PREFIX}{'x' * 5000}", new_api_token()[:-1]):
            assert await status_of(world, text) == 401
        assert store.calls["use_api_token"] == 0


async def test_unknown_tokens_of_one_address_have_a_rate(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, rate_limits="on") as world:
        ann = await world.person("ann")
        known = await make(world, ann)
        assert await status_of(world, known.token) == 200
        statuses = [await status_of(world, new_api_token()) for _ in range(ASK_RATE.burst + 20)]
        asked = store.calls["use_api_token"]
        assert statuses[-1] == 429
        assert asked <= ASK_RATE.burst + 1
        assert await status_of(world, known.token) == 200  # is remembered: it is not counted
        async with world.socket(new_api_token()) as socket:
            assert await socket.closed() == 4013


async def test_while_the_store_is_away_nobody_is_told_that_their_token_is_bad(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        made = await make(world, await world.person("ann"))
        store.fail_next("use_api_token", StoreUnavailable("away"), times=3)
        assert await status_of(world, made.token) == 503
        async with world.socket(made.token) as socket:
            assert await socket.closed() == 1011  # come back
        async with world.socket() as socket:
            await socket.send_raw(json.dumps({"event": "auth", "data": {"token": made.token}}))
            assert await socket.closed() == 1011
        assert await status_of(world, made.token) == 200


# Bots


async def test_a_bot_speaks_by_its_token_and_everybody_sees_that_it_is_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        ann, ben = await world.person("ann"), await world.person("ben")
        created = await world.rest(
            "POST", "/users/me/bots", {"name": "Robot"}, token=world.token(ann)
        )
        bot = created.json["user"]
        assert (created.status, bot["isBot"], bot["name"]) == (201, True, "Robot")
        made = await make(world, ann, "read", "write", botId=bot["id"])
        me = await world.rest("GET", "/auth/me", token=made.token)
        assert (me.json["user"]["id"], me.json["user"]["isBot"]) == (bot["id"], True)
        tea = str(await world.session(ann, ben))
        body = {"userId": bot["id"]}
        path = f"/chat/sessions/{tea}/members"
        assert (await world.rest("POST", path, body, token=world.token(ann))).status in {200, 201}
        async with world.connect(ben) as b:
            await b.ask("session:join", sessionId=tea)
            sent = await world.rest(
                "POST", f"/chat/sessions/{tea}/messages", {"content": "beep"}, token=made.token
            )
            assert sent.status == 201
            assert (await b.event("message:new"))["sender"]["isBot"] is True
            own = await b.ask("message:send", sessionId=tea, content="hm")
            assert "isBot" not in own["message"]["sender"]
        for view in (f"/users/{bot['id']}", path, "/users?query=robot"):
            answer = await world.rest("GET", view, token=world.token(ben))
            assert b'"isBot":true' in answer.body
        listed = await world.rest("GET", "/users/me/bots", token=world.token(ann))
        assert [str(each.id) for each in Bots.model_validate(listed.json).bots] == [bot["id"]]


async def test_a_bot_is_its_owners_alone(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, max_bots_per_user=1) as world:
        ann, ben = await world.person("ann"), await world.person("ben")
        as_ann, as_ben = world.token(ann), world.token(ben)
        bot = (await world.rest("POST", "/users/me/bots", {"name": "R"}, token=as_ann)).json["user"]
        more = await world.rest("POST", "/users/me/bots", {"name": "S"}, token=as_ann)
        assert (more.status, more.code) == (409, "conflict")
        body = {"name": "ci", "scopes": ALL, "botId": bot["id"]}
        assert (await world.rest("POST", "/auth/tokens", body, token=as_ben)).status == 404
        assert (
            await world.rest("DELETE", f"/users/me/bots/{bot['id']}", token=as_ben)
        ).status == 404
        body["botId"] = str(ben.id)
        assert (await world.rest("POST", "/auth/tokens", body, token=as_ann)).status == 404
        made = await make(world, ann, botId=bot["id"])
        assert (await revoke(world, ben, made.api_token.id)).status == 404
        assert await status_of(world, made.token) == 200


async def test_a_token_that_is_made_while_its_bot_ends_ends_with_it(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path) as world:
        ann = await world.person("ann")
        bot = (
            await world.rest("POST", "/users/me/bots", {"name": "R"}, token=world.token(ann))
        ).json["user"]
        made: list[str] = []
        begin = world.store.begin_erasure

        async def begin_late(user_id: UUID, **more: Any) -> list[UUID] | None:
            made.append((await make(world, ann, botId=bot["id"])).token)
            assert await status_of(world, made[0]) == 200
            return await begin(user_id, **more)

        monkeypatch.setattr(world.store, "begin_erasure", begin_late)
        path = f"/users/me/bots/{bot['id']}"
        assert (await world.rest("DELETE", path, token=world.token(ann))).status == 202
        assert await status_of(world, made[0]) == 401


@pytest.mark.parametrize("whole", [False, True])
async def test_a_bot_ends_when_its_owner_wants_it_or_goes(
    tmp_path: Path, autojump_clock: MockClock, whole: bool
) -> None:
    async with open_site(tmp_path) as site:
        world, ann = site.world, await site.register("ann")
        bot = (await ann.ask("POST", "/users/me/bots", {"name": "Robot"})).json["user"]
        body = {"name": "ci", "scopes": ALL, "botId": bot["id"]}
        token = (await ann.ask("POST", "/auth/tokens", body)).json["token"]
        async with world.socket(token) as socket:
            await socket.event("connection:ready")
            assert await status_of(world, token) == 200
            if whole:
                goodbye = {"password": PASSWORD, "messages": "DELETE"}
                assert (await ann.ask("DELETE", "/users/me", goodbye)).status == 202
            else:
                path = f"/users/me/bots/{bot['id']}"
                assert (await ann.ask("DELETE", path)).status == 202
                assert (await ann.ask("DELETE", path)).status == 404
                assert (await ann.acts())[0] == "bot_removed"
            assert await status_of(world, token) == 401
            assert await socket.closed() == 4403
        [row] = await world.store.users_by_ids([UUID(bot["id"])])
        assert row.name == "Deleted user"
