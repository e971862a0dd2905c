"""Every figure this server counts, named and ready to be counted.

Built once by `actors.node` and handed down; rendered for `/metrics` by the web floor.

**Invariants**
- A `Metrics` has its own registry, so that several nodes fit into one process.
- A child is looked up once, here: counting is one method call (0.3 µs against 1.0 through `labels()`).
  What happens with every message is a `Tally`: nodes have one thread, so the library's lock would be for nothing.
- Values of a label are a closed set, all rendered from the start; topics, tenants and connections are never labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, UnknownMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

ActorKind = Literal[
    "acceptor",
    "alarm_clock",
    "channel",
    "connection",
    "listener",
    "presence",
    "reactor",
    "relay",
    "reporter",
    "resource",
    "rows",
    "supervisor",
]
# How a connection ended: the close code that was received or sent, 1005 and 1006 for none.
CloseCode = Literal[
    "1000", "1001", "1002", "1005", "1006", "1007", "1008", "1009", "1011", "1012", "other"
]
# The codes of `protocol.errors` that a client's frame can earn.
FrameFault = Literal[
    "MalformedWebSocketMessage", "UnknownErrorOnWebSocketMessage", "TooMuchPending"
]
DropReason = Literal[
    "channel_busy",
    "crash",
    "denied",
    "evicted",
    "incomplete",
    "not_persisted",
    "payload_not_an_object",
    "payload_size_exceeded",
    "rate_limited",
]
# Why a presence message was refused.
PresenceFault = Literal[
    "connection_full",
    "denied",
    "not_an_object",
    "rate",
    "too_large",
    "topic_full",
    "unknown_event",
    "unreadable",
]
# Why a change reached nobody although somebody may have wanted it.
SkipReason = Literal["crash", "evicted", "gap", "rate_limited"]

# What became of a join that was answered.
JoinResult = Literal["ok", "error"]

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

#: Names under which dashboards made for other servers look, and the figures of ours whose sum each one is.
#: **Source**: spec 10 (`realtime_…`, `phoenix_…`), the ledger's FB-080 (`fluxbase_…`).
ALIASES: Final = {
    "realtime_connections_connected": ("connections_open",),
    "realtime_connections_connected_cluster": ("connections_open",),
    "realtime_channel_events": ("broadcasts_accepted", "broadcasts_relayed"),
    "realtime_channel_presence_events": ("presence_pushes",),
    "realtime_channel_db_events": ("changes_delivered",),
    "realtime_channel_joins": ("joins",),
    "realtime_subscriptions_manager_subscribers": ("change_subscriptions",),
    "phoenix_connections_total": ("connections_opened",),
    "phoenix_connections_active": ("connections_open",),
    "fluxbase_realtime_connections": ("connections_open",),
    "fluxbase_realtime_channels": ("channels",),
    "fluxbase_realtime_subscriptions": ("change_subscriptions",),
    "fluxbase_realtime_messages_total": ("deliveries", "changes_delivered"),
    "fluxbase_realtime_connection_errors_total": ("slow_consumers", "frames_malformed"),
}


class Metrics:
    """The counters and gauges of one node.

    Plain attributes are counted directly: `metrics.slow_consumers.inc(n)`; a tally by adding to its `count`.
    Dictionaries hold one child for each value of their label: `metrics.broadcasts_dropped["channel_busy"].inc()`.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._register_clients()
        self._register_presence()
        self._register_actors()
        self._register_changes()
        self._register_keys()
        self._registry.register(Aliases(self))

    def render(self) -> bytes:
        """Return all figures in the Prometheus text format; takes some milliseconds and never waits.

        `CONTENT_TYPE` is its media type.
        """
        return generate_latest(self._registry)

    def count_open(self) -> None:
        """Count a connection as open until `count_close`."""
        self.connections_opened.inc()
        self.connections_open.inc()

    def count_close(self, code: int) -> None:
        """Count the end of a connection under its close code; clients may send any code they like."""
        self.connections_open.dec()
        label = str(int(code))
        self.connections_closed[label if label in self.connections_closed else "other"].inc()

    def _register_clients(self) -> None:
        self.connections_open = self._gauge("connections_open", "Accepted WebSockets.")
        self.connections_opened = self._counter(
            "connections_opened", "WebSockets accepted since the start."
        )
        self.connections_closed: dict[str, Counter] = self._by_label(
            "connections_closed", "WebSockets that ended.", "code", get_args(CloseCode)
        )
        self.users = self._gauge("users", "Users with a connection, each once.")
        self.channels = self._gauge("channels", "Channels that somebody is subscribed to.")
        self.subscribers = self._gauge("subscribers", "Subscriptions to channels.")
        self.joins: dict[JoinResult, Counter] = self._by_label(
            "joins", "Joins that were answered.", "result", get_args(JoinResult)
        )
        self.frames_received = self._tally("frames_received", "WebSocket frames received.")
        self.frames_malformed: dict[str, Counter] = self._by_label(
            "frames_malformed", "Frames against the protocol.", "code", get_args(FrameFault)
        )
        self.broadcasts_accepted = self._tally(
            "broadcasts_accepted", "Broadcasts that a channel took."
        )
        self.broadcasts_relayed = self._counter(
            "broadcasts_relayed",
            "Broadcasts from the database that somebody was subscribed to.",
        )
        self.broadcasts_dropped: dict[DropReason, Counter] = self._by_label(
            "broadcasts_dropped", "Broadcasts not delivered.", "reason", get_args(DropReason)
        )
        self.deliveries = self._tally(
            "deliveries",
            "Sends to one subscriber each; the broadcasts of a batch are one send.",
        )
        self.slow_consumers = self._counter(
            "slow_consumers", "Connections ended because their outbox overflowed."
        )
        self.outbox_bytes = self._gauge(
            "outbox_bytes", "Bytes that wait in the outboxes of all connections."
        )

    def _register_presence(self) -> None:
        self.presences = self._gauge("presences", "Payloads that clients track now.")
        self.presence_pushes = self._counter(
            "presence_pushes", "Presence messages from clients, whatever they asked for."
        )
        self.presence_refused: dict[PresenceFault, Counter] = self._by_label(
            "presence_refused",
            "Presence messages that were refused.",
            "reason",
            get_args(PresenceFault),
        )
        self.presence_diffs = self._counter(
            "presence_diffs", "Presence diffs, each for everybody on its topic."
        )
        self.presence_states = self._counter(
            "presence_states", "Presence states, each for somebody who joined."
        )

    def _register_actors(self) -> None:
        kinds = get_args(ActorKind)
        self.actor_crashes: dict[ActorKind, Counter] = self._by_label(
            "actor_crashes", "Incarnations that failed.", "kind", kinds
        )
        self.actor_restarts: dict[ActorKind, Counter] = self._by_label(
            "actor_restarts", "Incarnations after the first.", "kind", kinds
        )

    def _register_changes(self) -> None:
        self.change_subscriptions = self._gauge(
            "change_subscriptions", "Subscriptions that asked for row changes."
        )
        self.changes_received = self._counter(
            "changes_received", "Row changes from the source."
        )
        self.changes_delivered = self._counter(
            "changes_delivered", "Row changes pushed to one subscriber each."
        )
        self.changes_skipped: dict[SkipReason, Counter] = self._by_label(
            "changes_skipped", "Row changes given up.", "reason", get_args(SkipReason)
        )
        self.source_live = self._gauge("source_live", "1 while row changes stream in, else 0.")
        self.source_lag_bytes = self._gauge(
            "source_lag_bytes", "What the database keeps of its log for this node."
        )
        self.source_reconnects = self._counter(
            "source_reconnects", "Times the source of row changes was connected again."
        )

    def _register_keys(self) -> None:
        self.keys = self._gauge("keys", "Keys in force that were fetched as a JWKS.")
        self.key_set_fetches = self._counter("key_set_fetches", "JWKS fetched.")
        self.key_set_failures = self._counter(
            "key_set_failures",
            "Times that no JWKS could be fetched; the last keys stay in force.",
        )

    def _gauge(self, noun: str, text: str) -> Gauge:
        return Gauge(f"realtime_{noun}", text, registry=self._registry)

    def _counter(self, noun: str, text: str) -> Counter:
        # The library appends `_total`.
        return Counter(f"realtime_{noun}", text, registry=self._registry)

    def _tally(self, noun: str, text: str) -> Tally:
        tally = Tally(f"realtime_{noun}", text)
        self._registry.register(tally)
        return tally

    def _by_label(
        self, noun: str, text: str, label: str, values: tuple[Any, ...]
    ) -> dict[Any, Counter]:
        parent = Counter(f"realtime_{noun}", text, [label], registry=self._registry)
        return {value: parent.labels(value) for value in values}


class Tally(Collector):
    """A counter of what happens with every message: whoever counts adds to `count`."""

    __slots__ = ("_name", "_text", "count")

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self.count = 0

    def collect(self) -> Iterator[Metric]:
        """Yield the count as it is now."""
        yield CounterMetricFamily(self._name, self._text, value=self.count)


class Aliases(Collector):
    """Collects figures of ours under the names of `ALIASES`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield them as they are now; their types are left open, as the other servers' differ."""
        for name, parts in ALIASES.items():
            value = sum(_value(getattr(self._metrics, part)) for part in parts)
            text = "The same as " + " and ".join(f"realtime_{part}" for part in parts) + "."
            yield UnknownMetricFamily(name, text, value)


def _value(figure: Counter | Gauge | Tally | dict[str, Counter]) -> float:
    """Return the value of a figure, of one with a label the sum."""
    if isinstance(figure, dict):
        return sum(map(_value, figure.values()))
    samples = (sample for family in figure.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if not sample.name.endswith("_created"))
