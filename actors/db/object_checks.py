"""What a database has to contain: a publication with tables that tell their rows apart, and the table of messages.

Called by `checkup`.

**Source**: spec 4.4, 6.5 and 11 for what an application expects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.db.advice import plain_or_quoted
from actors.db.findings import Check, error, ok, warning
from actors.db.plan_reuse import DOUBTFUL_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.db.findings import Finding


def _publication(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    ((name, is_there, does_all, tables),) = rows
    shown = plain_or_quoted(name)
    if not is_there:
        return [
            error(
                "publication",
                f"{name} is missing.",
                f"CREATE PUBLICATION {shown} FOR TABLE <table>;",
            )
        ]
    if tables == 0:
        return [
            warning(
                "publication",
                f"{name} has no tables: nobody gets row changes.",
                f"ALTER PUBLICATION {shown} ADD TABLE <table>;",
            )
        ]
    if not does_all:
        return [
            warning(
                "publication",
                f"{name} leaves out inserts, updates or deletes of its {tables} tables.",
                f"ALTER PUBLICATION {shown} SET (publish = 'insert, update, delete');",
            )
        ]
    return [ok("publication", f"{name} has {tables} tables.")]


def _identities(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    findings = []
    for table, has_key, identity in rows:
        if not has_key:
            findings.append(
                warning(
                    "primary key",
                    f"{table} has none: its inserts and updates reach clients as an error.",
                    f"ALTER TABLE {table} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;",
                )
            )
        elif identity == "n":
            findings.append(
                warning(
                    "replica identity",
                    f"{table} logs nothing of old rows: its deletes reach nobody.",
                    f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT;",
                )
            )
        elif identity == "d":
            findings.append(
                ok(
                    "replica identity",
                    f"{table} logs the key of old rows: filters on other columns match no delete"
                    " unless its replica identity is FULL.",
                )
            )
    return findings


def _volatility(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    findings = []
    for signature, policies in rows:
        sentence = (
            f"{signature} is declared IMMUTABLE, but what it does looks different:"
            " while it is there, policies are planned anew for each identity, which costs time."
        )
        if not policies:
            findings.append(ok("volatility", sentence))
            continue
        called = f" It is called by the policies {', '.join(policies)}."
        remedy = f"ALTER FUNCTION {signature} STABLE;"
        findings.append(warning("volatility", sentence + called, remedy))
    return findings


def _messages(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    ((is_there, policies, has_today, has_tomorrow),) = rows
    if not is_there:
        return [
            error("realtime.messages", "The table is missing.", "-- run: troupe migrate"),
        ]
    findings = []
    if policies == 0:
        findings.append(
            warning(
                "policies",
                "realtime.messages has none: only who bypasses row security joins private channels.",
                'CREATE POLICY "members read" ON realtime.messages FOR SELECT TO authenticated'
                " USING (realtime.topic() = 'room');",
            )
        )
    else:
        findings.append(ok("policies", f"realtime.messages has {policies}."))
    if has_today and has_tomorrow:
        findings.append(ok("partitions", "Those of today and tomorrow are there."))
    else:
        findings.append(
            error(
                "partitions",
                "That of today or tomorrow is missing: nothing can be sent from SQL.",
                "-- run: troupe migrate, and let the login role own realtime.messages",
            )
        )
    return findings


def _row_security(rows: Sequence[tuple[Any, ...]]) -> list[Finding]:
    findings = []
    for login, is_on, is_forced, owns, bypasses, may_insert in rows:
        role = plain_or_quoted(login)
        if not is_on:
            findings.append(
                error(
                    "row security",
                    "It is off for realtime.messages: private channels are open to every role that may read it.",
                    "ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;",
                )
            )
        if bypasses and not may_insert:
            sentence = (
                f"{login} may not insert into realtime.messages, so no policy can be asked."
            )
            remedy = f"GRANT INSERT ON realtime.messages TO {role};"
        elif bypasses or (owns and not is_forced):
            findings.append(
                ok("probes", f"{login} writes realtime.messages past row security.")
            )
            continue
        else:
            sentence = f"Row security of realtime.messages holds for {login} too, so no policy can be asked."
            remedy = (
                f"ALTER ROLE {role} BYPASSRLS; GRANT INSERT ON realtime.messages TO {role};"
            )
            if owns:
                remedy = "ALTER TABLE realtime.messages NO FORCE ROW LEVEL SECURITY;"
        findings.append(error("probes", sentence, remedy))
    return findings


OBJECT_CHECKS: Final = (
    Check(
        """
        SELECT %(publication)s, oid IS NOT NULL,
            coalesce(pubinsert AND pubupdate AND pubdelete, false),
            (SELECT count(*) FROM pg_publication_tables AS published WHERE published.pubname = wanted.name)
        FROM (SELECT %(publication)s::name AS name) AS wanted
        LEFT JOIN pg_publication ON pubname = wanted.name
        """,
        _publication,
    ),
    Check(
        """
        SELECT format('%%I.%%I', published.schemaname, published.tablename),
            EXISTS (SELECT FROM pg_index WHERE indrelid = class.oid AND indisprimary), class.relreplident
        FROM pg_publication_tables AS published
        JOIN pg_namespace AS space ON space.nspname = published.schemaname
        JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relname = published.tablename
        WHERE published.pubname = %(publication)s ORDER BY 1
        """,
        _identities,
    ),
    Check(
        f"""
        SELECT doubtful.oid::regprocedure::text, ARRAY(
            SELECT DISTINCT quote_ident(policy.polname) || ' of ' || policy.polrelid::regclass::text
            FROM pg_policy AS policy JOIN pg_class AS class ON class.oid = policy.polrelid
            JOIN pg_namespace AS space ON space.oid = class.relnamespace
            JOIN pg_depend AS link ON link.classid = 'pg_policy'::regclass AND link.objid = policy.oid
            WHERE link.refclassid = 'pg_proc'::regclass AND link.refobjid = doubtful.oid
            AND ((space.nspname, class.relname) = ('realtime', 'messages') OR EXISTS (
                SELECT FROM pg_publication_tables AS published WHERE published.pubname = %(publication)s
                AND (published.schemaname, published.tablename) = (space.nspname, class.relname)))
            ORDER BY 1)
        FROM ({DOUBTFUL_FUNCTIONS}) AS doubtful ORDER BY 1
        """,  # noqa: S608  # a statement of our own
        _volatility,
    ),
    Check(
        """
        SELECT max(class.oid::bigint) FILTER (WHERE relname = 'messages') IS NOT NULL,
            (SELECT count(*) FROM pg_policies WHERE schemaname = 'realtime' AND tablename = 'messages'),
            count(*) FILTER (WHERE relname = 'messages_' || to_char(day.utc, 'YYYY_MM_DD')) > 0,
            count(*) FILTER (
                WHERE relname = 'messages_' || to_char(day.utc + interval '1 day', 'YYYY_MM_DD')) > 0
        FROM (SELECT now() AT TIME ZONE 'utc' AS utc) AS day
        LEFT JOIN pg_class AS class ON relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'realtime')
        """,
        _messages,
    ),
    Check(
        """
        SELECT rolname, relrowsecurity, relforcerowsecurity, pg_has_role(rolname, relowner, 'usage'),
            rolsuper OR rolbypassrls, has_table_privilege(rolname, class.oid, 'insert')
        FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = relnamespace
        JOIN pg_roles ON rolname = current_user
        WHERE nspname = 'realtime' AND relname = 'messages'
        """,
        _row_security,
    ),
)
