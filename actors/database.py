"""The database of a tenant, as far as this server uses it; put together for `node.py`."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from attrs import frozen

from actors.core.spec import ChildSpec, Restart
from actors.db.catalog import Catalog
from actors.db.change_sources import SourceMode, change_source
from actors.db.enabling import PostgresTableTriggers
from actors.db.filters import PostgresFilters
from actors.db.janitor import Janitor, JanitorOptions
from actors.db.policies import PostgresPolicies
from actors.db.pool import Pool
from actors.db.replay import PostgresReplay
from actors.db.roles import PostgresRoles
from actors.db.shared_filters import SharedFilters
from actors.db.sights import Strictness
from actors.db.storing import PostgresStorage
from actors.db.subscriptions import PostgresSubscriptions
from actors.db.visibility import DatabaseVisibility, VisibilityOptions
from actors.realtime.change_feed import ChangeFeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.realtime.change_ports import ChangeSource
    from actors.realtime.changelog import ChangeLog
    from actors.settings import Settings


NO_STREAMING = "Row changes are switched off on this server"


@frozen
class Database:
    """What implements the ports of `actors.realtime`, over connections that are made when needed."""

    settings: Settings
    pool: Pool
    #: Clients choose what filters and replays cost, which is not to keep others waiting.
    filter_pool: Pool
    replay_pool: Pool
    source: ChangeSource
    visibility: DatabaseVisibility
    subscriptions: PostgresSubscriptions
    filters: SharedFilters
    policies: PostgresPolicies
    replays: PostgresReplay
    storage: PostgresStorage
    triggers: PostgresTableTriggers
    roles: PostgresRoles

    @classmethod
    def open(cls, conninfo: str, settings: Settings, now: Callable[[], float]) -> Database:
        """Return the database; nothing is connected yet."""
        pool, filter_pool, replay_pool = Pool(conninfo), Pool(conninfo), Pool(conninfo, 2)
        source = change_source(
            SourceMode(settings.change_source),
            conninfo,
            Catalog(pool),
            now,
            settings.publication,
            slot_suffix=settings.slot_suffix,
            report_within_s=settings.heartbeat_interval_s,
        )
        strictness = Strictness(settings.strict_rows, settings.strict_deletes)
        options = VisibilityOptions(settings.policy_timeout_s, strictness)
        return cls(
            settings,
            pool,
            filter_pool,
            replay_pool,
            source,
            DatabaseVisibility.open(pool, options),
            PostgresSubscriptions(pool, settings.publication),
            SharedFilters(PostgresFilters(filter_pool)),
            PostgresPolicies(conninfo, settings.policy_timeout_s),
            PostgresReplay(replay_pool),
            PostgresStorage(conninfo, settings.policy_timeout_s),
            PostgresTableTriggers(pool, settings.publication),
            PostgresRoles(pool),
        )

    def feed(self, log: ChangeLog) -> ChangeFeed:
        """Return the feed of row changes; without a source if the operator wants none."""
        tables = self.settings.table_rules
        if not self.settings.enable_db_streaming:
            feed = ChangeFeed(
                log, self.visibility, None, self.subscriptions, self.filters, tables=tables
            )
            feed.state.advice = NO_STREAMING
            return feed
        return ChangeFeed(
            log,
            self.visibility,
            self.source,
            self.subscriptions,
            self.filters,
            tables=tables,
        )

    def close(self) -> None:
        self.policies.close()
        self.storage.close()
        self.visibility.close()
        for pool in (self.pool, self.filter_pool, self.replay_pool):
            pool.close()

    def janitor(self) -> list[ChildSpec[Any]]:
        """Return the spec of the actor that looks after the schema."""
        options = JanitorOptions(
            migrates=not self.settings.no_migrate,
            every_s=self.settings.partitions_every_s,
            retention=timedelta(hours=self.settings.messages_kept_h),
            publication=self.settings.publication,
        )
        return [
            ChildSpec(
                name="janitor",
                factory=lambda: Janitor(self.pool, options),
                rank=3,
                restart=Restart.PERMANENT,
                ready_within=math.inf,
            )
        ]
