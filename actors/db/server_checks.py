"""What the server has to allow: logical replication, room for it, and rights of the login role.

Called by `checkup`.

**Source**: PostgreSQL 18 documentation, 54.20 `pg_replication_slots` and 29.11 (settings), read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.db.advice import plain_or_quoted
from actors.db.findings import Check, error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.db.findings import Finding

#: Connections that should be left for this server's pool and streams.
SPARE_CONNECTIONS: Final = 10
MEGABYTE: Final = 1024 * 1024


def _wal_level(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    ((level,),) = rows
    if level == "logical":
        return [ok("wal_level", "Postgres logs what logical replication needs.")]
    remedy = "ALTER SYSTEM SET wal_level = 'logical';  -- and restart Postgres"
    return [error("wal_level", f"It is {level}: the log cannot be read.", remedy)]


def _room(subject: str, setting: str, least: int) -> Callable[..., list[Finding]]:
    def judge(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
        ((used, limit),) = rows
        sentence = f"{used} of {limit} are in use."
        if limit - used >= least:
            return [ok(subject, sentence)]
        remedy = f"ALTER SYSTEM SET {setting} = {limit + least};  -- and restart Postgres"
        return [error(subject, f"{sentence} This server needs {least}.", remedy)]

    return judge


def _retention(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    ((megabytes,),) = rows
    if megabytes >= 0:
        return [ok("retention", f"A slot keeps {megabytes} MB of the log at the most.")]
    return [
        warning(
            "retention",
            "Nothing bounds what a stopped server keeps of the log, so a temporary slot is used"
            " and what commits while this server is away is not delivered.",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '4GB'; SELECT pg_reload_conf();",
        )
    ]


def _slots(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    findings = []
    for name, status, retained in rows:
        sentence = f"{name} keeps {(retained or 0) // MEGABYTE} MB ({status or 'reserved'})."
        if status == "lost":
            remedy = "-- made again when this server connects; clients are told of the gap"
            findings.append(error("slot", sentence, remedy))
        else:
            findings.append(ok("slot", sentence))
    return findings


def _login(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    ((name, database, may_replicate, may_make_temporary),) = rows
    role, findings = plain_or_quoted(name), []
    if may_replicate:
        findings.append(ok("login role", f"{name} may replicate."))
    else:
        remedy = f"ALTER ROLE {role} REPLICATION;"
        findings.append(error("login role", f"{name} may not replicate.", remedy))
    if not may_make_temporary:
        sentence = f"{name} may not make temporary functions, so no policy can be asked."
        remedy = f"GRANT TEMPORARY ON DATABASE {plain_or_quoted(database)} TO {role};"
        findings.append(error("temporary functions", sentence, remedy))
    return findings


def _roles(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    findings = []
    for role, login, is_there, may_become in rows:
        if not is_there:
            bypass = " BYPASSRLS" if role == "service_role" else ""
            remedy = f"CREATE ROLE {role} NOLOGIN NOINHERIT{bypass};  -- or run: troupe migrate"
            findings.append(error("role", f"{role} is missing.", remedy))
        elif not may_become:
            remedy = f"GRANT {role} TO {plain_or_quoted(login)};"
            findings.append(
                error("role", f"{login} cannot become {role} to ask its policies.", remedy)
            )
        else:
            findings.append(ok("role", f"{role} is there, and {login} can become it."))
    return findings


SERVER_CHECKS: Final = (
    Check("SELECT current_setting('wal_level')", _wal_level),
    Check(
        "SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int",
        _room("replication slots", "max_replication_slots", 2),
    ),
    Check(
        "SELECT (SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')::int",
        _room("WAL senders", "max_wal_senders", 1),
    ),
    Check(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
        " current_setting('max_connections')::int",
        _room("connections", "max_connections", SPARE_CONNECTIONS),
    ),
    Check(
        "SELECT setting::int FROM pg_settings WHERE name = 'max_slot_wal_keep_size'", _retention
    ),
    Check(
        "SELECT slot_name, wal_status, (pg_current_wal_lsn() - restart_lsn)::bigint"
        " FROM pg_replication_slots WHERE slot_name ^@ 'troupe_' AND NOT temporary"
        " AND database = current_database() ORDER BY 1",
        _slots,
    ),
    Check(
        "SELECT rolname, current_database(), rolreplication OR rolsuper,"
        " has_database_privilege(current_database(), 'temporary')"
        " FROM pg_roles WHERE rolname = current_user",
        _login,
    ),
    Check(
        """
        SELECT wanted.name, current_user, oid IS NOT NULL,
            oid IS NOT NULL AND pg_has_role(current_user, oid, 'member')
        FROM unnest(ARRAY['anon', 'authenticated', 'service_role']) AS wanted(name)
        LEFT JOIN pg_roles ON rolname = wanted.name
        """,
        _roles,
    ),
)
