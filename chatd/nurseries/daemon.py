"""The root: opens everything in order of dependence, serves, and stops from the inside out.

The tree: postgres and the store's pool; rooms, typing, presence and the journal; connections; the
accept loop. The stop: accepting ends first, connections say goodbye, commits finish, the rest
closes.
"""

from __future__ import annotations

import gc
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
import trio

from chatd.app import create_app
from chatd.bearers import Bearers
from chatd.config import Settings
from chatd.context import Issuer, Services
from chatd.contract import Store
from chatd.errors import CloseCode
from chatd.handlers.authenticator import SECRETS_PURPOSE, reseal_secrets
from chatd.keyring import load_keyring
from chatd.keys import load_signing_keys
from chatd.metrics import Metrics
from chatd.model import dumps, iso
from chatd.nurseries.admission import Live
from chatd.nurseries.answering import open_answering
from chatd.nurseries.asgi import run_lifespan
from chatd.nurseries.chat_engine import open_chat_engine
from chatd.nurseries.cluster import Cluster, open_cluster
from chatd.nurseries.doors import Doors
from chatd.nurseries.engine import Engine
from chatd.nurseries.erasing import open_erasing
from chatd.nurseries.files import open_files
from chatd.nurseries.first_states import open_first_states
from chatd.nurseries.http import HttpServer
from chatd.nurseries.indexer import open_indexer
from chatd.nurseries.inherited import take_inherited
from chatd.nurseries.journal import open_journal
from chatd.nurseries.mailer import open_mail
from chatd.nurseries.mirrors import Mirrors
from chatd.nurseries.parts import open_parts
from chatd.nurseries.poller import open_poller
from chatd.nurseries.postgres import lock_data_folder, open_postgres
from chatd.nurseries.provider import Provider
from chatd.nurseries.replication import freshness_of, open_replication
from chatd.nurseries.resealing import open_resealing
from chatd.nurseries.routes import routes_of
from chatd.nurseries.serving import serve
from chatd.nurseries.site import file_origins, load_site
from chatd.nurseries.sockets import Sockets
from chatd.nurseries.supervised import SupervisorLink
from chatd.nurseries.sweeper import open_sweeper
from chatd.passwords import Passwords
from chatd.peers import Peers
from chatd.sealing import Sealer
from chatd.store.migrate import migrate
from chatd.store.pool import open_pool
from chatd.tokens import AccessTokens
from chatd.turns import Turns

SEARCHES = 2  # at once: they never take more of the pool from the others
SEARCH_QUEUE = 32  # searches that wait for their turn, for search_timeout at most
DRAIN_POLL = 0.05  # seconds between two looks whether the last connection has gone

log = structlog.get_logger("chatd.daemon")


def wall_clock() -> datetime:
    """Return the time of day, UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class DrainState:
    """Whether the daemon is going down."""

    is_draining: bool = False


@dataclass(slots=True)
class Daemon:
    """A daemon with everything open but its listeners; made by `open_daemon`."""

    settings: Settings
    services: Services
    live: Live
    engine: Engine
    http: HttpServer
    doors: Doors
    drain_state: DrainState
    cluster: Cluster | None  # None: it is the only daemon
    node_url: str | None = None  # how other daemons reach this one, once it listens

    def begin_drain(self) -> None:
        """Refuse new work from now on; `/readyz` says so to the load balancer."""
        self.drain_state.is_draining = True
        self.http.is_draining = True  # no new sockets; what is idle may still ask
        self.engine.drain()
        if self.services.assistant is not None:
            self.services.assistant.drain()

    async def let_polling_go(self) -> None:
        """Wait until those who poll have fetched their goodbye, while requests are still taken."""
        with trio.move_on_after(self.settings.goodbye_timeout):
            while self.engine.polling:  # noqa: ASYNC110 - the engine counts, nobody waits but this
                await trio.sleep(DRAIN_POLL)

    async def drain(self) -> None:
        """Tell every socket, and end them in random order evenly over `drain_seconds`.

        The last ones keep the time for their goodbye, so that the stop stays inside the drain.
        """
        seconds = self.settings.drain_seconds
        deadline = self.services.now() + timedelta(seconds=seconds)
        notice = dumps({"deadline": iso(deadline)})
        sockets = self.live.sockets.all()
        log.info("draining", sockets=len(sockets), seconds=seconds)
        for socket in sockets:
            socket.push_ephemeral("server:draining", notice)
        spread = max(0.0, seconds - self.settings.goodbye_timeout)
        rng = random.SystemRandom()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.engine.drain_forwards, spread, rng)
            await self.live.sockets.drain(spread, rng)

    def cut_all(self) -> None:
        """End every connection now."""
        self.engine.cut_all()
        for socket in self.live.sockets.all():
            socket.cut(CloseCode.SHUTDOWN)


@asynccontextmanager
async def open_daemon(
    settings: Settings,
    store: Store,
    *,
    now: Callable[[], datetime] = wall_clock,
    is_writable: Callable[[], bool] = lambda: True,
    provider: Provider | None = None,
    peers: Peers | None = None,
    is_alone: bool = True,
) -> AsyncIterator[Daemon]:
    """Open everything above the store and below the listeners, for the length of the block.

    Args:
        provider: of language models, instead of the one of the settings.
        peers: the other daemons, whose polling clients are passed on to them.
        is_alone: the data folder is this process's, not that of several workers.

    Raises:
        SettingsError: a signing key is missing or weak, or one that content needs.
    """
    keys = load_signing_keys(settings)
    metrics, state = Metrics(), DrainState()
    metrics.unreadable.set_function(store.unreadable_texts)
    freshness = freshness_of(store, metrics)
    sockets = await _open_sockets(settings, store, now())
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        resealing = await enter(open_resealing(store, load_keyring(settings), now, is_writable))
        parts = await enter(
            open_parts(settings, store, sockets, now=now, metrics=metrics, freshness=freshness)
        )
        epoch = await store.epoch()
        cluster: Cluster | None = None
        if settings.redis_url is not None:
            cluster = await enter(
                open_cluster(settings, store, keys, epoch, parts, now=now, metrics=metrics)
            )
            peers = peers or cluster.nodes
        journal = await enter(open_journal(store, parts.publish, settings, metrics, is_writable))
        parts.rooms.is_busy = journal.is_busy
        erasing = await enter(open_erasing(store, journal, parts.presence, parts.typing, now))
        await enter(open_sweeper(store))
        files = await enter(open_files(settings, store, keys, now, is_alone=is_alone))
        issuer = await enter(_open_issuer(settings)) if settings.oidc_client_id else None
        mailer = await enter(open_mail(settings, now=now, metrics=metrics))
        tokens = AccessTokens(keys, settings.access_token_ttl)
        sealer = Sealer(keys, SECRETS_PURPOSE)
        await reseal_secrets(store, sealer)
        services = Services(
            settings=settings,
            store=store,
            epoch=epoch,
            now=now,
            tokens=tokens,
            bearers=Bearers(
                tokens, store, parts.limiter, lifetime=settings.access_token_ttl, now=now
            ),
            successor_key=keys[0],
            passwords=Passwords(rounds=settings.bcrypt_rounds, queue=settings.bcrypt_queue),
            guesses=parts.guesses,
            sealer=sealer,
            limiter=parts.limiter,
            metrics=metrics,
            journal=journal,
            rooms=parts.rooms,
            presence=parts.presence,
            typing=parts.typing,
            readers=parts.readers,
            sockets=sockets,
            searches=Turns(at_once=SEARCHES, queue=SEARCH_QUEUE),
            erasures=erasing,
            is_draining=lambda: state.is_draining,
            is_searchable=lambda: resealing.is_searchable,
            issuer=issuer,
            mailer=mailer,
            files=files,
            verified=parts.verified,
            freshness=freshness,
        )
        mirrors = None if cluster is None else cluster.mirrors
        await enter(_open_assistant(services, provider, mirrors))
        first_states = await enter(open_first_states(store))
        live = Live(services, sockets, parts.presence, parts.typing, first_states, cluster)
        site = load_site(file_origins(settings))
        app = create_app(services, site.missing)
        await enter(run_lifespan(app))
        doors = Doors(settings, services.limiter)
        engine = await enter(open_chat_engine(live, doors, peers))
        routes = routes_of(live, app, engine, doors, site)
        poller = await enter(open_poller())
        http = HttpServer(routes, settings, doors, peers, poller)
        yield Daemon(settings, services, live, engine, http, doors, state, cluster)


async def _open_sockets(settings: Settings, store: Store, now: datetime) -> Sockets:
    """Return an empty registry that knows which logins are revoked though their tokens live."""
    ttl = settings.access_token_ttl
    sockets = Sockets(per_user=settings.max_sockets_per_user, token_ttl=ttl)
    revoked = await store.revoked_since(now - timedelta(seconds=ttl))
    sockets.cut_families(revoked, CloseCode.REVOKED)
    return sockets


def _open_issuer(settings: Settings) -> AbstractAsyncContextManager[Issuer]:
    """Return the opener of the issuer; its libraries take 6 MiB, which others do not pay."""
    from chatd.nurseries.issuer import open_issuer  # noqa: PLC0415 - see above

    return open_issuer(settings)


@asynccontextmanager
async def _open_assistant(
    services: Services, provider: Provider | None, mirrors: Mirrors | None
) -> AsyncIterator[None]:
    """Answer, when there is a model; its library takes 19 MiB, which others do not pay."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        if provider is not None:
            services.assistant = await enter(open_answering(services, provider, mirrors))
        elif services.settings.openai_model is not None:
            from chatd.nurseries.assistant import open_assistant  # noqa: PLC0415 - see above

            services.assistant = await enter(open_assistant(services, mirrors))
        yield


# The whole process


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[tuple[str, Callable[[], bool]]]:
    """Have the database of the settings for the block; yields its conninfo and whether to write.

    Without `database_url` that is the embedded PostgreSQL in the data folder, which this takes
    for itself.

    Raises:
        DataFolderInUse: another chatd has the data folder.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_data_folder(settings.data_dir):
        if settings.database_url is not None:
            yield settings.database_url.get_secret_value(), _always
            return
        async with open_postgres(settings.data_dir) as postgres:

            def has_space() -> bool:
                return not postgres.is_read_only

            yield postgres.conninfo, has_space


@asynccontextmanager
async def open_store(
    settings: Settings, link: SupervisorLink | None = None
) -> AsyncIterator[tuple[Store, Callable[[], bool]]]:
    """Open the database of the settings, migrated; yields the store and whether it may be written.

    Args:
        link: of a worker, whose supervisor has database and data folder. See `open_database`.

    Raises:
        DataFolderInUse: another chatd has the data folder.
        SettingsError: a key of content is no good.
        StoreError: the database cannot be reached or is newer than this chatd.
    """
    keyring = load_keyring(settings)
    async with AsyncExitStack() as stack:
        if link is not None and settings.database_url is not None:
            conninfo, is_writable = settings.database_url.get_secret_value(), link.is_writable
        else:
            conninfo, is_writable = await stack.enter_async_context(open_database(settings))
        await migrate(conninfo, settings.database_pooler)
        pool = await stack.enter_async_context(
            open_pool(
                conninfo,
                size=settings.database_pool_size,
                query_timeout=settings.query_timeout,
                pooler=settings.database_pooler,
            )
        )
        store = await stack.enter_async_context(open_replication(settings, pool, keyring))
        yield store, is_writable


def _always() -> bool:
    return True


async def run_daemon(settings: Settings, announce: Callable[[int], None]) -> None:
    """Serve until a signal; SIGTERM or SIGINT drains, a second one ends at once.

    Args:
        announce: called with the port once connections are accepted; not of a worker, whose
            supervisor speaks for all.

    Raises:
        SettingsError, DataFolderInUse, StoreError, OSError: it cannot start; the text says why.
    """
    _calm_collector()
    inherited = take_inherited()
    link = None if inherited.supervisor is None else SupervisorLink(inherited.supervisor)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                _end_at_second_signal, signals, nursery.cancel_scope, stop := trio.Event()
            )
            if link is not None:
                structlog.contextvars.bind_contextvars(worker=os.getpid())  # of one log of all
                nursery.start_soon(link.run)
            is_alone = link is None
            async with (
                open_store(settings, link) as (store, is_writable),
                open_daemon(settings, store, is_writable=is_writable, is_alone=is_alone) as daemon,
                open_indexer(store, lambda: is_writable() and daemon.services.is_searchable()),
            ):
                log.info("audit chain", head=str(await store.audit_head()))
                tell = announce if link is None else link.tell_ready
                await serve(daemon, tell, stop, inherited.listeners)
            nursery.cancel_scope.cancel(reason="stopped")


def _calm_collector() -> None:
    """Let the garbage collector look less often: what connections allocate stays for hours.

    With the defaults it takes a third of a connect, walking over everything that is alive. What
    stays is walked over once or twice, while it is still in the processor's cache, and then it is
    old: between two looks at the old some two million objects have to be made.
    """
    gc.collect()
    gc.freeze()  # what imports made is never garbage
    gc.set_threshold(2_000, 0, 500)


async def _end_at_second_signal(
    signals: AsyncIterator[int], everything: trio.CancelScope, stop: trio.Event
) -> None:
    async for number in signals:
        log.info("signal", signal=signal.Signals(number).name)
        if stop.is_set():
            everything.cancel(reason="second signal")
        stop.set()
