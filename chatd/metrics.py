"""Counters and gauges for `/metrics`, in Prometheus' text form.

Counted a batch at a time: an increment costs a microsecond, as much as a queued delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class _Replica(Collector):
    """Reads that a replica could have answered, as a store counts them."""

    def __init__(self, reads: Mapping[str, int]) -> None:
        self._reads = reads

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "chatd_replica_reads",
            "Reads by who answered: the replica, or the primary and why",
            labels=["outcome"],
        )
        for outcome, count in self._reads.items():
            family.add_metric([outcome], count)
        yield family


class Metrics:
    """The metrics of one daemon; each daemon has a registry of its own, also in tests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = Gauge(
            "chatd_connections", "Live sockets", ["transport"], registry=self.registry
        )
        self.joins = Gauge("chatd_joins", "Joined (socket, session) pairs", registry=self.registry)
        self.rooms = Gauge("chatd_rooms", "Sessions with a joined socket", registry=self.registry)
        self.messages = Counter("chatd_messages", "Messages stored", registry=self.registry)
        self.deliveries = Counter(
            "chatd_deliveries", "Durable events handed to an outbox", registry=self.registry
        )
        self.ack_errors = Counter(
            "chatd_ack_errors",
            "Refusals by event and code",
            ["event", "code"],
            registry=self.registry,
        )
        self.closes = Counter(
            "chatd_closes", "Ended sockets by close code", ["code"], registry=self.registry
        )
        self.dropped = Counter(
            "chatd_dropped", "Ephemeral events not sent to slow sockets", registry=self.registry
        )
        self.recoveries = Counter(
            "chatd_recoveries", "Joins with a position", ["recovered"], registry=self.registry
        )
        self.catchups = Counter(
            "chatd_catchups", "Rooms that read a hole from the store", registry=self.registry
        )
        self.batch = Histogram(
            "chatd_journal_batch",
            "Messages in a transaction",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "chatd_commit_seconds", "Time of a journal transaction", registry=self.registry
        )
        self.refused = Counter(
            "chatd_refused", "Connections not let in, by code", ["code"], registry=self.registry
        )
        self.forwards = Counter(
            "chatd_forwards",
            "Passed on to the daemon whose session it is, by end: polling, websocket, or away",
            ["kind"],
            registry=self.registry,
        )
        for kind in ("polling", "websocket", "away"):
            self.forwards.labels(kind)  # 0 ahead of the first, or no alarm sees its increase
        self.unreadable = Gauge(
            "chatd_unreadable_texts",
            "Times that a stored text did not decrypt: no key, changed, or of another row",
            registry=self.registry,
        )
        self.mails = Counter(
            "chatd_mails",
            "Mails sent, retried (each try that failed), lost, and refused for want of room",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("sent", "retried", "lost", "refused"):
            self.mails.labels(outcome)  # 0 ahead of the first, or no alarm sees its increase
        self.ai_answers = Counter(
            "chatd_ai_answers",
            "Answers of the assistant by end",
            ["status"],
            registry=self.registry,
        )
        self.ai_tokens = Counter(
            "chatd_ai_tokens", "Tokens of the assistant", ["kind"], registry=self.registry
        )
        self.backplane_up = Gauge(
            "chatd_backplane_up", "1 while Redis is connected", registry=self.registry
        )
        self.nodes = Gauge(
            "chatd_nodes", "Daemons of the cluster that are heard", registry=self.registry
        )
        self.frames_sent = Counter(
            "chatd_frames_sent", "Frames published to other daemons", registry=self.registry
        )
        self.frames_heard = Counter(
            "chatd_frames_heard", "Frames of other daemons", registry=self.registry
        )
        self.frames_dropped = Counter(
            "chatd_frames_dropped",
            "Frames not published: Redis was away or too slow",
            registry=self.registry,
        )
        self.frames_bad = Counter(
            "chatd_frames_bad",
            "Frames that were not understood or not signed by this cluster",
            registry=self.registry,
        )
        self.healings = Counter(
            "chatd_healings",
            "Times that the database was asked for what Redis may have lost",
            registry=self.registry,
        )
        self.failures = Counter(
            "chatd_connection_failures", "Connections ended by a bug", registry=self.registry
        )

    def watch_replica(self, reads: Mapping[str, int], lag: Callable[[], float]) -> None:
        """Show what is counted of a read replica, and how many seconds it may be behind."""
        self.registry.register(_Replica(reads))
        gauge = Gauge(
            "chatd_replica_lag_seconds",
            "How old what the read replica shows may be",
            registry=self.registry,
        )
        gauge.set_function(lag)

    def render(self) -> bytes:
        """Return the whole page."""
        return generate_latest(self.registry)
