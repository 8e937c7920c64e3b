"""Who is not let in, and who is sent away for good."""

from __future__ import annotations

import pytest

from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import register, rest
from tests.socketio.js import TRANSPORTS, Driver
from tests.socketio.people import expired_token, open_tea

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


async def test_a_token_that_is_none_is_refused_with_its_code_and_the_client_stays_away(
    daemon: Daemon, driver: Driver, transport: str
) -> None:
    for auth in ({}, *({"token": token} for token in ("", "nonsense", "a.b.c", "x" * 9000, 7))):
        client = await driver.open(daemon.url, "", transport, auth=auth)
        refused = await client.first("connect_error")
        assert isinstance(refused["message"], str)
        assert refused["message"]
        assert refused["data"]["code"] == "unauthorized"
        assert not refused["active"]
        assert not client.of("connect")


async def test_an_expired_token_is_refused_as_such(
    daemon: Daemon, driver: Driver, transport: str
) -> None:
    ben = await register(daemon, "ben")
    client = await driver.open(daemon.url, expired_token(ben), transport)
    refused = await client.first("connect_error")
    assert refused["message"]
    assert refused["data"]["code"] == "token_expired"
    assert not refused["active"]


async def test_a_namespace_that_there_is_not_is_refused_in_the_words_of_node(
    daemon: Daemon, driver: Driver, transport: str
) -> None:
    ben = await register(daemon, "ben")
    client = await driver.open(f"{daemon.url}/nowhere", ben, transport)
    refused = await client.first("connect_error")
    assert refused["message"] == "Invalid namespace"
    assert not refused["active"]


async def test_who_logs_out_is_told_why_and_stays_away(
    daemon: Daemon, driver: Driver, transport: str
) -> None:
    async with open_tea(daemon) as tea:
        ben = await driver.connect(daemon.url, tea.ben, transport)
        await ben.join(tea.session)
        await rest(daemon, "POST", "/auth/logout", tea.ben.token, {})
        gone = await ben.first("disconnect")
        assert gone == gone | {"reason": "io server disconnect", "active": False}
        closing = ben.events("connection:closing")
        assert [(one["code"], one["reconnect"]) for one in closing] == [(4403, False)]
        # The token is worth nothing any more, though it has not expired.
        again = await driver.open(daemon.url, tea.ben, transport)
        refused = await again.first("connect_error")
        assert refused["data"]["code"] == "unauthorized"
        assert not refused["active"]
        assert len(ben.of("connect")) == 1
