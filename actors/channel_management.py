"""Managed channels of a tenant, put together for `node.py`: table, store, keeper, and the HTTP routes of GoForward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from actors.auth.roles import NoRoles, RoleVerifier
from actors.db.channel_store import PostgresChannelStore
from actors.dialects import stamps
from actors.realtime.channel_admin import ChannelAdmin
from actors.realtime.channel_keeper import keeper_spec
from actors.realtime.channel_store import NoStore
from actors.realtime.managed_channels import ManagedChannels
from actors.web.goforward import GoForwardApi
from actors.web.goforward_requests import Requests
from actors.web.request_rate import RequestRate
from protocol.managed import SERVICE_ROLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.spec import ChildSpec
    from actors.database import Database
    from actors.realtime.channel_store import ChannelStore
    from actors.realtime.posting import Poster
    from actors.realtime.tenant import Tenant
    from actors.settings import Settings
    from actors.web.bodies import BodyBudget


def empty_table(settings: Settings, *, has_store: bool) -> ManagedChannels:
    """Return the table before anything is loaded into it."""
    return ManagedChannels(settings.channel_rules, is_loaded=not has_store)


@frozen
class ChannelManagement:
    """See the module's text; `now` returns seconds since 1970-01-01 UTC."""

    settings: Settings
    tenant: Tenant
    database: Database | None
    now: Callable[[], float]
    store: ChannelStore
    admin: ChannelAdmin

    @classmethod
    def open(
        cls,
        settings: Settings,
        tenant: Tenant,
        database: Database | None,
        now: Callable[[], float],
    ) -> ChannelManagement:
        """Return it; nothing is asked of the database yet."""
        store = NoStore() if database is None else PostgresChannelStore(database.pool)
        admin = ChannelAdmin(tenant, store, now)
        return cls(settings, tenant, database, now, store, admin)

    def keeper(self) -> ChildSpec[Any]:
        """Return the spec of the actor that fills the table and clears it up."""
        return keeper_spec(self.tenant, self.store, self.admin)

    def api(self, poster: Poster, bodies: BodyBudget) -> GoForwardApi:
        """Return the routes of GoForward."""
        settings, tenant, database = self.settings, self.tenant, self.database
        requests = Requests(
            tenant,
            RoleVerifier(tenant.verifier, NoRoles() if database is None else database.roles),
            bodies,
            RequestRate(tenant.quota),
            settings.channel_admins | {SERVICE_ROLE},
            settings.channel_creators or None,
        )
        triggers = None if database is None else database.triggers
        return GoForwardApi(
            requests,
            self.admin,
            poster,
            stamps(self.now, tenant.random),
            self.now,
            triggers,
            settings.enable_metrics,
            settings.enable_db_streaming and database is not None,
        )
