"""The settings of managed channels; part of the table in `settings.py`."""

from __future__ import annotations

from attrs import frozen

from actors.realtime.managed_channels import ChannelRules
from actors.realtime.table_rules import TableRules, parse_tables
from actors.setting_values import boolean, number, only_true, roles, seconds, setting

NO_TABLES: frozenset[tuple[str, str]] = frozenset()
NO_ROLES: frozenset[str] = frozenset()


@frozen
class ChannelSettings:
    """Those that GoForward's document names, and what goes with them."""

    max_channels: int = setting(1000, number(int, 1), "managed channels at a time")
    max_users_per_channel: int = setting(
        100, number(int, 1), "subscribers of a managed channel that does not say how many"
    )
    max_connections_per_user: int = setting(
        0, number(int, 0), "connections of one user (sub) at a time; 0: any number"
    )
    channel_ttl_s: float = setting(
        24 * 3600.0,
        seconds(1),
        "seconds that a managed channel without subscribers is kept",
        aliases=("CHANNEL_TTL",),
    )
    cleanup_interval_s: float = setting(
        300.0,
        seconds(0.1),
        "seconds between two looks for managed channels that nobody uses",
        aliases=("CLEANUP_INTERVAL",),
    )
    presence_ttl_s: float = setting(
        300.0,
        seconds(1),
        "seconds that somebody is present who says so over HTTP and has no socket",
    )
    ping_interval_s: float = setting(
        30.0,
        seconds(0),
        "seconds between two pings on GoForward's sockets; 0: none",
        aliases=("PING_INTERVAL",),
    )
    auto_create_channels: bool = setting(
        default=True,
        parse=boolean,
        text="let GoForward's sockets create the channel they connect to: true or false",
    )
    allow_anonymous_channels: bool = setting(
        default=False,
        parse=boolean,
        text="let clients without a token into channels that nobody created",
    )
    channel_creators: frozenset[str] = setting(
        NO_ROLES, roles, "roles that may create channels, with commas (default: all but anon)"
    )
    channel_admins: frozenset[str] = setting(
        NO_ROLES,
        roles,
        "roles that may do everything with channels and tables, beside service_role",
    )
    enable_broadcast: bool = setting(
        default=True, parse=boolean, text="let clients broadcast: true or false"
    )
    enable_presence: bool = setting(
        default=True, parse=boolean, text="let clients be present: true or false"
    )
    enable_db_streaming: bool = setting(
        default=True, parse=boolean, text="follow the rows of the database: true or false"
    )
    enable_rls: bool = setting(
        default=True,
        parse=only_true,
        text="row security decides who sees a row; this cannot be switched off",
    )
    filter_tables: frozenset[tuple[str, str]] = setting(
        NO_TABLES,
        parse_tables,
        "tables that may be followed, with commas, as schema.table (default: all published)",
    )
    exclude_tables: frozenset[tuple[str, str]] = setting(
        NO_TABLES, parse_tables, "tables that may not be followed, be they published or not"
    )
    heartbeat_interval_s: float = setting(
        30.0,
        seconds(0.1),
        "seconds between two signs of life to the database, at the most",
        aliases=("HEARTBEAT_INTERVAL",),
    )
    max_reconnect_delay_s: float = setting(
        30.0,
        seconds(0.1),
        "seconds between two attempts to follow a database that is away, at the most",
        aliases=("MAX_RECONNECT_DELAY",),
    )

    @property
    def channel_rules(self) -> ChannelRules:
        """What was decided about all managed channels."""
        return ChannelRules(
            max_channels=self.max_channels,
            max_subscribers=self.max_users_per_channel,
            ttl_s=self.channel_ttl_s,
            cleanup_every_s=self.cleanup_interval_s,
            auto_create=self.auto_create_channels,
            presence_ttl_s=self.presence_ttl_s,
            allow_anonymous=self.allow_anonymous_channels,
        )

    @property
    def table_rules(self) -> TableRules:
        """Which tables may be followed."""
        return TableRules(self.filter_tables, self.exclude_tables)
