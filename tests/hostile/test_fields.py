"""What clients may say about themselves and their messages: nothing that is the server's to say."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from chatd.client import ClientError
from chatd.handlers.catalogue import BY_EVENT, OPERATIONS
from tests.hostile.doors import by_ws, doors_of
from tests.hostile.place import Place, ask
from tests.scenarios.talker import Json, register, talking

pytestmark = pytest.mark.usefixtures("bystander")

SEND = BY_EVENT["message:send"]
# To where an issuer sends the browser back it may add what it likes (RFC 6749 4.1.2).
OURS = [operation for operation in OPERATIONS if operation.name != "sign-in-return"]
CHOSEN: Json = {
    "id": "00000000-0000-0000-0000-000000000001",
    "senderId": "00000000-0000-0000-0000-000000000001",
    "sender": {"id": "00000000-0000-0000-0000-000000000001", "name": "admin"},
    "role": "OWNER",
    "seq": 1,
    "createdAt": "2000-01-01T00:00:00.000Z",
    "isAdmin": True,
    "emailVerified": True,
    "constructor": {},
}


def fields_of(error: Json) -> set[str]:
    assert error["code"] == "validation_failed", error
    return {each["field"] for each in error["details"]["fields"]}


@pytest.mark.parametrize("operation", OURS, ids=lambda operation: operation.name)
@pytest.mark.threat("T85")
async def test_no_operation_takes_a_field_that_it_does_not_know_by_any_door(
    place: Place, operation: Any
) -> None:
    for door in doors_of(operation).values():
        refusal = await door(place, place.ann.token, operation, {"isAdmin": "true"})
        assert "isAdmin" in fields_of(refusal)


@pytest.mark.threat("T85")
async def test_a_message_says_what_its_sender_may_say_and_the_rest_is_the_servers(
    place: Place,
) -> None:
    message = {"sessionId": place.session, "content": "as admin"}
    refusal = await by_ws(place, place.ann.token, SEND, message | CHOSEN)
    assert fields_of(refusal) == set(CHOSEN)
    profile = {"name": "ann", "id": CHOSEN["id"], "email": "x@example.com"}
    answer = await ask(place, "PATCH", "/users/me", profile, token=place.ann.token)
    assert fields_of(answer.json["error"]) == {"id", "email"}


@pytest.mark.threat("T84")
async def test_an_idempotency_key_is_the_senders_own_and_is_not_used_twice(place: Place) -> None:
    ben, key = await register(place.daemon, "ben"), uuid4().hex
    async with talking(place.daemon, place.ann) as ann:
        made = await ann.ask("session:create", kind="GROUP", name="keys", memberIds=[ben.id])
        session = made["session"]["id"]
        first = await ann.send(session, "mine", key)
        again = await ann.send(session, "mine", key)
        assert again["duplicate"]
        assert again["message"]["id"] == first["message"]["id"]
        with pytest.raises(ClientError) as refusal:
            await ann.send(session, "other words", key)
        assert refusal.value.code == "idempotency_conflict"
        with pytest.raises(ClientError) as refusal:
            await ann.send(session, "x", "k" * 10_000)
        assert refusal.value.code == "validation_failed"
    async with talking(place.daemon, ben) as other:
        his = await other.send(session, "his", key)
        assert not his["duplicate"]
        assert his["message"]["content"] == "his"
