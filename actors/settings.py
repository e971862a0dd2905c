"""Settings: from flags and `REALTIME_*` variables to one frozen object.

The class below is the table: a field is a flag, a variable and a line of `--help` at once.
A flag wins over its variable, and a variable over the default.
Components get small options objects of their own from `actors.node`, so nothing below this floor reads the environment.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs import frozen

from actors.auth.keys import KeySet, parse_key_set
from actors.db.slots import MAX_SUFFIX_BYTES, SlotMode, SlotOptions
from actors.key_settings import json_object, key_set_from_file, secret_from_file, web_address
from actors.realtime.quota import SUPABASE, QuotaLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PREFIX = "REALTIME_"
#: Known to everybody who can read this file, hence refused in production.
DEVELOPMENT_SECRET = "troupe-development-secret-never-use-it-in-production"  # noqa: S105
#: HS256 keys shorter than its hash can be guessed (RFC 7518, 3.2).
SECRET_BYTES = 32
HIGHEST_PORT = 65_535
#: Of each of these settings one at the most may be given.
CONTRADICTIONS = (
    ("no_database", "database_url"),
    ("jwt_secret", "jwt_secret_file"),
    ("jwt_jwks", "jwt_jwks_file", "jwt_jwks_url"),
)


class InvalidSetting(Exception):
    """A setting cannot be used; the text names it and says what it may be."""


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("true or false")


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return parse


def _number(
    kind: type[int | float], least: float, most: float = math.inf
) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError("a number") from None
        if not value >= least:
            raise ValueError(f"a number of at least {least:g}")
        if not value <= most:
            raise ValueError(f"a number of at most {most:g}")
        return value

    return parse


def _slot_suffix(text: str) -> str:
    try:
        return SlotOptions(suffix=text).suffix
    except ValueError:
        raise ValueError(f"up to {MAX_SUFFIX_BYTES} of the characters a-z, 0-9 and _") from None


def _setting(
    default: Any, parse: Callable[[str], Any], text: str, *, is_secret: bool = False
) -> Any:
    metadata = {"parse": parse, "help": text}
    return attrs.field(default=default, metadata=metadata, repr=not is_secret)


def _quota(text: str) -> Any:
    return _setting(None, _number(int, 0), text + "; 0: any number (default: as --limits says)")


@frozen
class Settings:
    """Every setting of the server."""

    env: Literal["development", "production"] = _setting(
        "development",
        _one_of("development", "production"),
        "development or production; production refuses the development keys",
    )
    host: str = _setting("127.0.0.1", str, "address to listen on")
    port: int = _setting(
        8080, _number(int, 0, HIGHEST_PORT), "TCP port to listen on; 0 takes a free one"
    )
    database_url: str | None = _setting(
        None,
        str,
        "Postgres to follow, as a URL or libpq string; none: an embedded Postgres",
        is_secret=True,
    )
    no_database: bool = _setting(
        default=False, parse=_boolean, text="serve broadcast alone, without any database"
    )
    jwt_secret: str | None = _setting(
        None,
        str,
        "secret that signs the API keys (HS256, HS384, HS512), at least 32 bytes",
        is_secret=True,
    )
    jwt_secret_file: str | None = _setting(
        None, secret_from_file, "file that holds the secret instead", is_secret=True
    )
    jwt_jwks: KeySet | None = _setting(
        None,
        parse_key_set,
        "keys that sign tokens, as a JWKS; the secret may be left out then",
        is_secret=True,
    )
    jwt_jwks_file: KeySet | None = _setting(
        None, key_set_from_file, "file that holds the JWKS instead", is_secret=True
    )
    jwt_jwks_url: str | None = _setting(
        None, web_address, "address to fetch the JWKS from instead", is_secret=True
    )
    jwt_jwks_refresh_s: float = _setting(
        600.0, _number(float, 1), "seconds after which it is fetched again"
    )
    jwt_claim_validators: Mapping[str, Any] | None = _setting(
        None,
        json_object,
        "claims that a token must have these values of, if it has them at all, as a JSON object",
    )
    publication: str = _setting(
        "supabase_realtime", str, "publication whose tables are followed"
    )
    change_source: str = _setting(
        SlotMode.AUTO.value,
        _one_of(*(mode.value for mode in SlotMode)),
        "slot that keeps the place of a server that is away: auto, durable or temporary",
    )
    no_migrate: bool = _setting(
        default=False, parse=_boolean, text="leave the schema of the database as it is"
    )
    messages_kept_h: float = _setting(
        72.0, _number(float, 1), "hours that messages of private channels are kept for replay"
    )
    partitions_every_s: float = _setting(
        4 * 3600.0, _number(float, 1), "seconds between two looks at the partitions of messages"
    )
    slot_suffix: str = _setting(
        "", _slot_suffix, "ending of its name, to tell servers of one database apart"
    )
    data_directory: Path | None = _setting(
        None,
        Path,
        "where the embedded Postgres lives (default: .troupe, or /var/lib/troupe as root)",
    )
    postgres_port: int | None = _setting(
        None,
        _number(int, 1, HIGHEST_PORT),
        "loopback port of the embedded Postgres (default: 54322, or a free one if that is taken)",
    )
    grace_s: float = _setting(
        10.0, _number(float, 0), "seconds that clients have to go when the server stops"
    )
    max_connections: int = _setting(
        20_000, _number(int, 1), "TCP connections at a time; more are answered with 503"
    )
    outbox_bytes: int = _setting(
        1024 * 1024, _number(int, 1), "bytes that may wait for one client before it is cut"
    )
    outboxes_bytes: int = _setting(
        256 * 1024 * 1024, _number(int, 1), "bytes that may wait for all clients together"
    )
    mailboxes_bytes: int = _setting(
        256 * 1024 * 1024, _number(int, 1), "bytes that may wait in all channels together"
    )
    change_log_bytes: int = _setting(
        64 * 1024 * 1024, _number(int, 1), "bytes of row changes kept for channels that lag"
    )
    change_log_window_s: float = _setting(
        60.0, _number(float, 0), "seconds that row changes are kept for them, and for a restart"
    )
    policy_timeout_s: float = _setting(
        2.0,
        _number(float, 0.01),
        "seconds that policies may take to decide, for a statement",
    )
    strict_rows: bool = _setting(
        default=False,
        parse=_boolean,
        text="withhold rows under row security that changed before they were judged",
    )
    strict_deletes: bool = _setting(
        default=False,
        parse=_boolean,
        text="tell of deletes only those who could see the row; needs a full replica identity",
    )
    bodies_bytes: int = _setting(
        64 * 1024 * 1024, _number(int, 1), "bytes of HTTP bodies that are held at a time"
    )
    max_payload_size_in_kb: int = _setting(
        3000,
        _number(int, 1),
        "largest payload of a broadcast or a track, in kB of 1000 bytes and 500 more",
    )
    idle_timeout_s: float = _setting(
        60.0, _number(float, 1), "seconds without any byte from a client before it is closed"
    )
    no_channel_timeout_s: float = _setting(
        600.0,
        _number(float, 1),
        "seconds that a client may have no channel before it is closed",
    )
    connect_error_delay_s: float = _setting(
        2.0, _number(float, 0), "seconds before a refused connection is answered"
    )
    join_error_delay_s: float = _setting(
        5.0, _number(float, 0), "seconds before a refused join is answered"
    )
    limits: Literal["off", "supabase"] = _setting(
        "off",
        _one_of("off", "supabase"),
        "quotas where no other is set: off, or supabase for those of a new project there",
    )
    max_concurrent_users: int | None = _quota("clients with a channel at a time")
    max_channels_per_client: int | None = _quota("channels of one client at a time")
    max_joins_per_second: int | None = _quota("joins per second, on average of a minute")
    max_events_per_second: int | None = _quota(
        "broadcasts sent and received per second, on average of a minute"
    )
    max_presence_events_per_second: int | None = _quota(
        "presence messages per second, on average of a minute"
    )
    max_client_presence_events_per_window: int | None = _quota(
        "presence messages of one client on one channel within the window"
    )
    client_presence_window_ms: int = _setting(
        30_000, _number(int, 1), "length of that window in milliseconds"
    )
    private_only: bool = _setting(
        default=False, parse=_boolean, text="let nobody join a public channel"
    )
    presence_enabled: bool = _setting(
        default=False,
        parse=_boolean,
        text="send who is present to everybody who joins, not only to those who ask for it",
    )
    suspend: bool = _setting(default=False, parse=_boolean, text="turn every client away")
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", _one_of("debug", "info", "warning", "error"), "debug, info, warning or error"
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


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings from the command line and the environment.

    Raises:
        InvalidSetting: a value cannot be used, or two contradict each other.
        SystemExit: from argparse, for `--help` and for unknown flags.
    """
    flags = vars(parser().parse_args(arguments))
    values: dict[str, Any] = {}
    for field in attrs.fields(Settings):
        text = flags[field.name]
        source = flag(field)
        if text is None:
            # An empty variable is one that was not filled in.
            text, source = environment.get(variable(field)) or None, variable(field)
        if text is None:
            continue
        try:
            values[field.name] = field.metadata["parse"](text)
        except ValueError as error:
            raise InvalidSetting(f"{source} must be {error}") from None
    settings = Settings(**values)
    _check(settings)
    return settings


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar, made from the table."""
    result = argparse.ArgumentParser(
        prog="python -m actors.main",
        description="Troupe, a realtime server for Supabase clients.",
        epilog="Every flag can be given as a variable instead, e.g. --log-level as REALTIME_LOG_LEVEL.",
    )
    for field in attrs.fields(Settings):
        is_switch = field.default is False
        shown = "" if field.default in (None, False, "") else f" (default: {field.default})"
        result.add_argument(
            flag(field),
            dest=field.name,
            help=field.metadata["help"] + shown,
            metavar=None if is_switch else "X",
            nargs="?" if is_switch else None,
            const="true" if is_switch else None,
        )
    return result


def flag(field: attrs.Attribute[Any]) -> str:
    """Return the name of a setting on the command line."""
    return "--" + field.name.replace("_", "-")


def variable(field: attrs.Attribute[Any]) -> str:
    """Return the name of a setting in the environment."""
    return PREFIX + field.name.upper()


def _check(settings: Settings) -> None:
    for names in CONTRADICTIONS:
        given = [
            "--" + name.replace("_", "-")
            for name in names
            if getattr(settings, name) not in (None, False)
        ]
        if len(given) > 1:
            raise InvalidSetting(" and ".join(given) + " contradict each other")
    if settings.env == "production":
        _check_secret(settings)


def _check_secret(settings: Settings) -> None:
    secret = settings.signing_secret
    if secret is None:
        return
    if secret == DEVELOPMENT_SECRET:
        # Source: spec 9, upstream's words for a tenant with neither.
        raise InvalidSetting(
            "either --jwt-secret or --jwt-jwks must be provided in production: "
            "the development keys are public"
        )
    if len(secret.encode()) < SECRET_BYTES:
        raise InvalidSetting(f"--jwt-secret must have at least {SECRET_BYTES} bytes")
