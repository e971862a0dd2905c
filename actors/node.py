"""The node: the supervision tree of one server process, where its parts are joined.

    root            rest_for_one, 3 restarts in 60 s, beyond that the process ends
    ├─ keys         one child, restarted for ever           key_set, if keys are fetched
    ├─ postgres     the embedded server, if there is no other
    ├─ janitor      installs the schema, keeps partitions
    ├─ channels     dynamic, each child is given up alone   channel, rows, presence
    ├─ changes      two children, restarted for ever        relay, listener
    ├─ keepers      one child, restarted for ever           channel_keeper
    ├─ reading      one child, restarted for ever           reactor
    ├─ alarms       one child, restarted for ever           alarm_clock
    ├─ connections  dynamic, never restarted                conn_1, conn_2, …
    ├─ reports      one child, restarted for ever           reporter
    └─ acceptor     the port: HTTP and WebSocket

What the port serves is put together in `site.py`, what stands for the database in `database.py`.

Younger depends on older: what a crash restarts is exactly what depends on it.
A crash of the reactor ends the sockets that it read by itself: the port and the connections that come then stay up.
Stopped newest first: the port closes, clients are told and sent home, and only then do channels and database go.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio
from attrs import frozen

from actors.auth.fetch import HttpKeySet
from actors.auth.rotation import KeyRing, refresher_spec
from actors.auth.tokens import JwtVerifier
from actors.channel_management import ChannelManagement, empty_table
from actors.core.branch import Branch
from actors.core.mailbox import WeightPool
from actors.core.spec import ChildSpec, Intensity, Restart, Strategy
from actors.database import Database
from actors.db.demo import prepare_demo
from actors.db.embedded import EmbeddedPostgres, ServerState
from actors.observer import Observer
from actors.realtime.alarm_clock import alarm_clock_spec
from actors.realtime.change_feed import ChangeFeed, NobodySees
from actors.realtime.changelog import ChangeLog
from actors.realtime.channels import Channels
from actors.realtime.connections import Connections
from actors.realtime.listener import DbListener
from actors.realtime.permissions import ServiceRoleOnly
from actors.realtime.persisting import NoStorage
from actors.realtime.quota import Quota
from actors.realtime.relay import relay_spec
from actors.realtime.replaying import NoReplay
from actors.realtime.reporter import ReporterActor
from actors.realtime.snapshot import take_snapshot
from actors.realtime.tenant import Tenant
from actors.site import web_options, whole_site
from actors.supervision import SupervisionTree
from actors.tenant_settings import limits_of, status_of
from actors.web.outbox_cap import OutboxCap
from actors.web.reactor import Sockets, has_reactor, reactor_spec
from actors.web.report import render_report
from actors.web.server import Acceptor, listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from actors.core.supervisor import Supervisor
    from actors.db.cluster_files import ClusterFiles
    from actors.settings import Settings
    from actors.telemetry.metrics import Metrics
    from actors.web.endpoint import Site

ROOT_INTENSITY = Intensity(restarts=3, period=60.0)
CHANNEL_INTENSITY = Intensity(restarts=5, period=60.0)
#: For what must come back whatever happens: it backs off instead of giving up.
ENDLESS = Intensity(restarts=math.inf, period=60.0)
TENANT = "default"


@frozen
class Surroundings:
    """What a node takes from outside, so that tests can hand in their own.

    `now` returns seconds since 1970-01-01 UTC.
    `cluster` is the claimed directory of the embedded Postgres, None if there is to be none.
    """

    random: Random
    now: Callable[[], float]
    cluster: ClusterFiles | None = None


class Node:
    """One server; built from settings, runs until cancelled."""

    def __init__(
        self, settings: Settings, surroundings: Surroundings, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self._metrics = metrics
        self._log = structlog.get_logger()
        observer = Observer(metrics, surroundings.now)
        self.tree = SupervisionTree(surroundings.random, observer)
        self.root = self.tree.supervisor("root", ROOT_INTENSITY, Strategy.REST_FOR_ONE)
        self.channels = self.tree.supervisor("channels", CHANNEL_INTENSITY)
        self.connections = self.tree.supervisor("connections", CHANNEL_INTENSITY)
        self._sockets = Sockets() if has_reactor() else None
        keys = settings.key_set
        self._key_ring = None if keys is None else KeyRing(keys)
        if keys is not None and keys.skipped:
            self._log.warning("keys.skipped", skipped=keys.skipped)
        #: The TCP port, once the acceptor listens.
        self.port = settings.port

    @property
    def conninfo(self) -> str | None:
        """How to reach the database, None if there is none."""
        cluster = self._surroundings.cluster
        return self._settings.database_url if cluster is None else cluster.address.conninfo

    async def run(
        self, *, task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled, then drain.

        Raises:
            RestartLimitReached: the tree could not be kept up.
        """
        conninfo, now = self.conninfo, self._surroundings.now
        database = None if conninfo is None else Database.open(conninfo, self._settings, now)
        log = ChangeLog(self._settings.change_log_bytes, self._settings.change_log_window_s)
        feed = ChangeFeed(log, NobodySees()) if database is None else database.feed(log)
        quota = Quota(self._settings.quota_limits())
        mailboxes = WeightPool(self._settings.mailboxes_bytes)
        channels = Channels(self.channels, feed, quota, self._metrics, mailboxes)
        tenant = self._tenant(channels, feed, quota, database)
        management = ChannelManagement.open(self._settings, tenant, database, now)
        connections = Connections(
            self.connections, tenant, self._metrics, grace_s=self._settings.grace_s
        )
        served = whole_site(
            self._settings, management, connections, self.tree, self._metrics, now
        )
        specs = [
            *self._keys(),
            *self._postgres(),
            *(() if database is None else database.janitor()),
            self._branch("channels", self.channels),
            *self._changes(tenant, database),
            self._branch(
                "keepers", self.tree.supervisor("keepers", ENDLESS), management.keeper()
            ),
            *self._reading(),
            self._branch(
                "alarms",
                self.tree.supervisor("alarms", ENDLESS),
                alarm_clock_spec(tenant.alarms),
            ),
            self._branch("connections", self.connections),
            self._reporter(tenant),
            self._acceptor(tenant, served),
        ]
        try:
            await self.root.run(*specs, task_status=task_status)
        finally:
            if database is not None:
                database.close()

    def _branch(
        self, name: str, supervisor: Supervisor, *specs: ChildSpec[Any]
    ) -> ChildSpec[Any]:
        return ChildSpec(
            name=name,
            factory=lambda: Branch(supervisor, specs),
            rank=0,
            restart=Restart.PERMANENT,
            ready_within=math.inf,
            stop_within=self._settings.grace_s + 5.0,
        )

    def _tenant(
        self, channels: Channels, feed: ChangeFeed, quota: Quota, database: Database | None
    ) -> Tenant:
        settings = self._settings
        verifier = JwtVerifier(
            settings.signing_secret,
            self._surroundings.now,
            self._key_ring,
            settings.jwt_claim_validators,
        )
        return Tenant(
            TENANT,
            verifier,
            channels,
            feed,
            limits_of(settings),
            quota,
            status_of(settings),
            ServiceRoleOnly() if database is None else database.policies,
            NoReplay() if database is None else database.replays,
            NoStorage() if database is None else database.storage,
            self._surroundings.random,
            managed=empty_table(settings, has_store=database is not None),
        )

    def _keys(self) -> list[ChildSpec[Any]]:
        ring, url = self._key_ring, self._settings.jwt_jwks_url
        if ring is None or url is None:
            return []
        interval_s = self._settings.jwt_jwks_refresh_s
        refresher = refresher_spec(ring, HttpKeySet(url), interval_s, self._metrics)
        return [self._branch("keys", self.tree.supervisor("keys", ENDLESS), refresher)]

    def _postgres(self) -> list[ChildSpec[Any]]:
        cluster = self._surroundings.cluster
        if cluster is None:
            return []
        state = ServerState()
        return [
            ChildSpec(
                name="postgres",
                factory=lambda: EmbeddedPostgres(cluster, state, prepare_demo),
                rank=1,
                restart=Restart.PERMANENT,
                ready_within=math.inf,
                stop_within=10.0,
            )
        ]

    def _changes(self, tenant: Tenant, database: Database | None) -> list[ChildSpec[Any]]:
        if database is None or tenant.feed.source is None:
            return []
        source = tenant.feed.source
        random, feed = self._surroundings.random, tenant.feed
        listener: ChildSpec[Any] = ChildSpec(
            name="listener",
            factory=lambda: DbListener(
                source, feed, random, self._metrics, self._settings.max_reconnect_delay_s
            ),
            rank=3,
            restart=Restart.PERMANENT,
        )
        relay = relay_spec(tenant, self._metrics)
        supervisor = self.tree.supervisor("changes", ENDLESS)
        return [self._branch("changes", supervisor, relay, listener)]

    def _reading(self) -> list[ChildSpec[Any]]:
        if self._sockets is None:
            return []
        reactor = reactor_spec(self._sockets)
        return [self._branch("reading", self.tree.supervisor("reading", ENDLESS), reactor)]

    def _reporter(self, tenant: Tenant) -> ChildSpec[Any]:
        now = self._surroundings.now

        def report() -> bytes:
            return render_report(
                lambda bounds: take_snapshot(tenant, now(), bounds), self.tree.report
            )

        reporter: ChildSpec[Any] = ChildSpec(
            name="reporter",
            factory=lambda: ReporterActor(tenant, report),
            rank=3,
            restart=Restart.PERMANENT,
        )
        return self._branch("reports", self.tree.supervisor("reports", ENDLESS), reporter)

    def _acceptor(self, tenant: Tenant, served: Site) -> ChildSpec[Any]:
        settings = self._settings
        options = web_options(settings)

        def note_port(port: int) -> None:
            self.port = port
            tenant.status.is_restarting = False

        def note_stop() -> None:
            # The acceptor is the first to hear that the node stops, and connections outlive it by a while.
            tenant.status.is_restarting = True

        cap = OutboxCap(settings.outboxes_bytes)
        self._metrics.outbox_bytes.set_function(lambda: cap.queued_bytes)
        return ChildSpec(
            name="acceptor",
            factory=lambda: Acceptor(
                served,
                options,
                cap,
                on_listening=note_port,
                on_stopping=note_stop,
                open_listener=partial(listen, sockets=self._sockets),
            ),
            rank=3,
            restart=Restart.PERMANENT,
            stop_within=settings.grace_s,
        )
