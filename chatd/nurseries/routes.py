"""Who answers what on the one port."""

from __future__ import annotations

from functools import partial

from chatd.errors import Forbidden
from chatd.handlers.accounts import LOGIN_PATH
from chatd.nurseries.admission import Live
from chatd.nurseries.asgi import ASGIApp
from chatd.nurseries.blob_door import blob_routes
from chatd.nurseries.bundle import bundle_routes
from chatd.nurseries.chat_engine import ENGINE_PATHS
from chatd.nurseries.doors import Doors
from chatd.nurseries.engine import Engine
from chatd.nurseries.http import Routes, Upgrade, UpgradeRoute
from chatd.nurseries.plain import serve_plain
from chatd.nurseries.probes import healthz, metrics_page, readyz
from chatd.nurseries.site import Site
from chatd.wire.http import RequestHead
from chatd.wire.origins import is_own_page


def routes_of(live: Live, app: ASGIApp, engine: Engine, doors: Doors, site: Site) -> Routes:
    """Return who answers what: probes, pages and polling beside Quart, sockets, the app's rest."""

    async def plain(upgrade: Upgrade) -> None:
        await serve_plain(upgrade, live)

    def screen_plain(head: RequestHead, address: str) -> None:
        if not is_own_page(head, live.services.settings.cors_origins):
            raise Forbidden
        doors.handshake(address)

    sockets = UpgradeRoute(engine.screen, engine.upgrade)
    return Routes(
        app=app,
        direct={
            **site.routes(),
            "/healthz": healthz,
            "/readyz": partial(readyz, live.services),
            "/metrics": partial(metrics_page, live.services.metrics, live.services.settings),
            **dict.fromkeys(ENGINE_PATHS, engine.serve),
            **bundle_routes(),
            **blob_routes(live.services),
        },
        screens={LOGIN_PATH: live.services.passwords.expect_room},
        upgrades={
            "/ws": UpgradeRoute(screen_plain, plain),
            **dict.fromkeys(ENGINE_PATHS, sockets),
        },
    )
