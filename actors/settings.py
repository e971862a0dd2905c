"""Settings: the table of all of them, as one frozen object.

The class below is the table: a field is a flag, a variable and a line of `--help` at once (`settings_loading.py`).
Components get small options objects of their own from `actors.node`, so nothing below this floor reads the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs import frozen

from actors.auth.keys import KeySet, parse_key_set
from actors.channel_settings import ChannelSettings
from actors.db.change_sources import SourceMode
from actors.key_settings import json_object, key_set_from_file, secret_from_file, web_address
from actors.realtime.quota import SUPABASE, QuotaLimits
from actors.setting_values import (
    boolean,
    duration,
    milliseconds,
    number,
    one_of,
    quota,
    seconds,
    setting,
    slot_suffix,
    text_of,
)
from actors.web.origins import EVERY_ORIGIN, Origins, parse_origins

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Known to everybody who can read this file, hence refused in production.
DEVELOPMENT_SECRET = "troupe-development-secret-never-use-it-in-production"  # noqa: S105
HIGHEST_PORT = 65_535
METRICS_TOKEN_LENGTH = 16


def _own_first(cls: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    return sorted(fields, key=lambda field: field.name not in cls.__annotations__)


@frozen(field_transformer=_own_first)
class Settings(ChannelSettings):
    """Every setting of the server."""

    env: Literal["development", "production"] = setting(
        "development",
        one_of("development", "production"),
        "development or production; production refuses the development keys",
    )
    host: str = setting("127.0.0.1", str, "address to listen on")
    port: int = setting(
        8080, number(int, 0, HIGHEST_PORT), "TCP port to listen on; 0 takes a free one"
    )
    database_url: str | None = setting(
        None,
        str,
        "Postgres to follow, as a URL or libpq string; none: an embedded Postgres",
        is_secret=True,
    )
    no_database: bool = setting(
        default=False, parse=boolean, text="serve broadcast alone, without any database"
    )
    jwt_secret: str | None = setting(
        None,
        str,
        "secret that signs the API keys (HS256, HS384, HS512), at least 32 bytes",
        is_secret=True,
    )
    jwt_secret_file: str | None = setting(
        None, secret_from_file, "file that holds the secret instead", is_secret=True
    )
    jwt_jwks: KeySet | None = setting(
        None,
        parse_key_set,
        "keys that sign tokens, as a JWKS; the secret may be left out then",
        is_secret=True,
    )
    jwt_jwks_file: KeySet | None = setting(
        None, key_set_from_file, "file that holds the JWKS instead", is_secret=True
    )
    jwt_jwks_url: str | None = setting(
        None, web_address, "address to fetch the JWKS from instead", is_secret=True
    )
    jwt_jwks_refresh_s: float = setting(
        600.0, seconds(1), "seconds after which it is fetched again"
    )
    jwt_claim_validators: Mapping[str, Any] | None = setting(
        None,
        json_object,
        "claims that a token must have these values of, if it has them at all, as a JSON object",
    )
    publication: str = setting(
        "supabase_realtime",
        str,
        "publication whose tables are followed",
        aliases=("PUBLICATION_NAME",),
    )
    change_source: str = setting(
        SourceMode.AUTO.value,
        one_of(*(mode.value for mode in SourceMode)),
        "where row changes come from: auto, replication (durable or temporary slot) or notify",
    )
    no_migrate: bool = setting(
        default=False, parse=boolean, text="leave the schema of the database as it is"
    )
    messages_kept_h: float = setting(
        72.0, duration("h", 1), "hours that messages of private channels are kept for replay"
    )
    partitions_every_s: float = setting(
        4 * 3600.0, seconds(1), "seconds between two looks at the partitions of messages"
    )
    slot_suffix: str = setting(
        "",
        slot_suffix,
        "ending of its name, to tell servers of one database apart",
        aliases=("REPLICATION_SLOT",),
    )
    data_directory: Path | None = setting(
        None,
        Path,
        "where the embedded Postgres lives (default: .troupe, or /var/lib/troupe as root)",
    )
    postgres_port: int | None = setting(
        None,
        number(int, 1, HIGHEST_PORT),
        "loopback port of the embedded Postgres (default: 54322, or a free one if that is taken)",
    )
    grace_s: float = setting(
        10.0,
        seconds(0),
        "seconds that clients have to go when the server stops; HTTP requests in flight have as long before that",
    )
    max_connections: int = setting(
        20_000, number(int, 1), "TCP connections at a time; more are answered with 503"
    )
    outbox_bytes: int = setting(
        1024 * 1024, number(int, 1), "bytes that may wait for one client before it is cut"
    )
    outboxes_bytes: int = setting(
        256 * 1024 * 1024, number(int, 1), "bytes that may wait for all clients together"
    )
    mailboxes_bytes: int = setting(
        256 * 1024 * 1024, number(int, 1), "bytes that may wait in all channels together"
    )
    change_log_bytes: int = setting(
        64 * 1024 * 1024, number(int, 1), "bytes of row changes kept for channels that lag"
    )
    change_log_window_s: float = setting(
        60.0, seconds(0), "seconds that row changes are kept for them, and for a restart"
    )
    policy_timeout_s: float = setting(
        2.0,
        seconds(0.01),
        "seconds that policies may take to decide, for a statement",
    )
    strict_rows: bool = setting(
        default=False,
        parse=boolean,
        text="withhold rows under row security that changed before they were judged",
    )
    strict_deletes: bool = setting(
        default=False,
        parse=boolean,
        text="tell of deletes only those who could see the row; needs a full replica identity",
    )
    bodies_bytes: int = setting(
        64 * 1024 * 1024, number(int, 1), "bytes of HTTP bodies that are held at a time"
    )
    max_payload_size_in_kb: int = setting(
        3000,
        number(int, 1),
        "largest payload of a broadcast or a track, in kB of 1000 bytes and 500 more",
    )
    allowed_origins: Origins = setting(
        EVERY_ORIGIN,
        parse_origins,
        "origins whose pages may open a WebSocket, with commas between them; * is any",
    )
    goforward_allowed_origins: Origins | None = setting(
        None, parse_origins, "those that may on GoForward's channels (default: the same)"
    )
    fluxbase_allowed_origins: Origins | None = setting(
        None, parse_origins, "those that may on Fluxbase's endpoint (default: the same)"
    )
    fluxbase_anonymous: bool = setting(
        default=True,
        parse=boolean,
        text="let Fluxbase's clients in without a token, as role anon: true or false",
    )
    fluxbase_heartbeat_s: float = setting(
        30.0, number(float, 0), "seconds between two heartbeats to Fluxbase's clients; 0: none"
    )
    fluxbase_max_frame_bytes: int = setting(
        512 * 1024, number(int, 1024), "largest message of a Fluxbase client"
    )
    idle_timeout_s: float = setting(
        60.0,
        seconds(1),
        "seconds without any byte from a client before it is closed",
        aliases=("CONNECTION_TIMEOUT",),
    )
    no_channel_timeout_s: float = setting(
        600.0,
        seconds(1),
        "seconds that a client may have no channel before it is closed",
    )
    connect_error_delay_s: float = setting(
        2.0, seconds(0), "seconds before a refused connection is answered"
    )
    join_error_delay_s: float = setting(
        5.0, seconds(0), "seconds before a refused join is answered"
    )
    limits: Literal["off", "supabase"] = setting(
        "off",
        one_of("off", "supabase"),
        "quotas where no other is set: off, or supabase for those of a new project there",
    )
    max_concurrent_users: int | None = quota("clients with a channel at a time")
    max_channels_per_client: int | None = quota("channels of one client at a time")
    max_joins_per_second: int | None = quota("joins per second, on average of a minute")
    max_events_per_second: int | None = quota(
        "broadcasts sent and received per second, on average of a minute"
    )
    max_presence_events_per_second: int | None = quota(
        "presence messages per second, on average of a minute"
    )
    max_client_presence_events_per_window: int | None = quota(
        "presence messages of one client on one channel within the window"
    )
    client_presence_window_ms: int = setting(
        30_000, milliseconds(1), "length of that window in milliseconds"
    )
    private_only: bool = setting(
        default=False, parse=boolean, text="let nobody join a public channel"
    )
    presence_enabled: bool = setting(
        default=False,
        parse=boolean,
        text="send who is present to everybody who joins, not only to those who ask for it",
    )
    suspend: bool = setting(default=False, parse=boolean, text="turn every client away")
    enable_metrics: bool = setting(
        default=True, parse=boolean, text="tell of figures at /metrics: true or false"
    )
    metrics_token: str | None = setting(
        None,
        text_of(METRICS_TOKEN_LENGTH),
        "bearer token that /metrics takes beside a service_role key, at least 16 characters",
        is_secret=True,
    )
    private_stats: bool = setting(
        default=False, parse=boolean, text="let /api/realtime/stats be asked with a key only"
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", one_of("debug", "info", "warning", "error"), "debug, info, warning or error"
    )

    def quota_limits(self) -> QuotaLimits:
        """Return the quotas: those that were set, and the others as `limits` says."""
        preset = SUPABASE if self.limits == "supabase" else QuotaLimits()
        fields = (field.name for field in attrs.fields(QuotaLimits))
        given = {name: getattr(self, name) for name in fields}
        return attrs.evolve(preset, **{k: v for k, v in given.items() if v is not None})

    @property
    def key_set(self) -> KeySet | None:
        """The JWKS that is known from the start, None without one; empty where it is to be fetched."""
        if self.jwt_jwks_url is not None:
            return KeySet()
        return self.jwt_jwks_file if self.jwt_jwks is None else self.jwt_jwks

    @property
    def signing_secret(self) -> str | None:
        """The secret that tokens may be signed with: the development secret if there is no key of any kind."""
        # A key of no bytes is in everybody's hands, so it is none.
        secret = self.jwt_secret or self.jwt_secret_file or None
        if secret is None and self.key_set is None:
            return DEVELOPMENT_SECRET
        return secret
