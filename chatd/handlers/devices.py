"""Devices: where the caller is logged in, and the end of a login from elsewhere."""

from __future__ import annotations

from chatd.context import Caller, Services
from chatd.errors import CloseCode, NotFound
from chatd.events.accounts import DeviceRef, Devices
from chatd.events.answers import Nothing
from chatd.handlers.audit import Act, write_down
from chatd.handlers.operations import Followed, Operation, Route
from chatd.limits import Rate
from chatd.model import device_dict, dumps

MAX_DEVICES = 100  # shown; who has more ends them all with one logout


async def list_devices(services: Services, caller: Caller, _command: Nothing) -> bytes:
    """Return the devices with an open login of the caller."""
    assert caller.identity is not None  # noqa: S101 - needs_login
    rows = await services.store.devices(caller.user_id, at=services.now(), limit=MAX_DEVICES)
    current_id = caller.identity.device_id
    return dumps({"devices": [device_dict(row, current_id) for row in rows]})


async def remove(services: Services, caller: Caller, command: DeviceRef) -> bytes | Followed:
    """End a device's login: its refresh tokens, its access tokens, its sockets.

    A repeat answers the same. Who removes their own device from its socket is told, then cut.
    """
    assert caller.identity is not None  # noqa: S101 - needs_login
    found = await services.store.revoke_device(caller.user_id, command.device_id, services.now())
    if not found:
        raise NotFound
    own_id = caller.identity.family_id
    is_own = caller.socket is not None and own_id in found
    now = [each for each in found if not (is_own and each == own_id)]
    services.sockets.cut_families(now, CloseCode.REVOKED)
    device_id = command.device_id
    await write_down(services, caller, Act.DEVICE_REMOVED, caller.user_id, deviceId=device_id)
    if not is_own:
        return b"{}"
    return Followed(b"{}", lambda: services.sockets.cut_families([own_id], CloseCode.REVOKED))


OPERATIONS = (
    Operation(
        "device-list",
        Nothing,
        Devices,
        "The devices on which the caller is logged in",
        run=list_devices,
        event="device:list",
        route=Route("GET", "/auth/devices"),
        rate=Rate(1, 20),
    ),
    Operation(
        "device-remove",
        DeviceRef,
        Nothing,
        "End the login of a device",
        run=remove,
        is_for_unverified=True,
        event="device:remove",
        route=Route("DELETE", "/auth/devices/<uuid:device_id>"),
        rate=Rate(1, 20),
    ),
)
