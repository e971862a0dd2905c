"""Which rows may be seen with which claims, as a function that Postgres compiles once for each session and role.

Called by `visibility`, which makes queries of changes, and by `row_statements`, which runs them.
The function lives in the session's temporary schema: nothing is installed in the database.
It takes the role, and then judges the rows of one list after the other, each list with the claims that go with it.

**Invariants**
- Each judgement is a subtransaction that is rolled back whatever it said,
  so no claims, setting or error of one identity reaches the next.
- Every name has its schema, identifiers are quoted, and values are parameters.
- A judgement that takes too long is the last one of a statement, as the time of a statement is over only once.
- The rows of another table that took over the name meanwhile are not judged in place of these.

**Source**: ADR 0045, with the figures that decided on this form.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from attrs import field, frozen
from psycopg import sql

from actors.db.sqlstates import QUERY_CANCELED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors.db.privileges import Access

#: What policies were written for: the path that PostgREST sets on Supabase. Temporary tables come last.
SEARCH_PATH = "public, extensions, pg_temp"

#: What the function raises by itself: a list was judged; the names mean another table; a commit is not through yet.
JUDGED = "TR000"
RENAMED = "TR001"
UNFINISHED = "TR002"
#: Told in place of an answer: the time was over, but others had used up most of it.
OUT_OF_TIME = "TR003"

# A transaction is in the log before other sessions see it. Its number comes without epoch: the nearest one is meant.
_FUNCTION = """
#variable_conflict use_column
DECLARE
    _list int := 0;
    _claim text;
    _subject text;
    _began timestamptz := pg_catalog.clock_timestamp();
    _asked_at timestamptz;
    _newest bigint := pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint;
    {declarations}
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.unnest(_xids) AS _transaction(xid)
        WHERE NOT pg_catalog.pg_visible_in_snapshot(
            (_newest + ((xid - _newest) % 4294967296 + 6442450944) % 4294967296 - 2147483648)::text::xid8,
            pg_catalog.pg_current_snapshot())
    ) THEN
        RAISE SQLSTATE {unfinished};
    END IF;
    _place := 0;
    PERFORM pg_catalog.set_config('role', {role}, true);
    FOREACH _claim IN ARRAY _claims LOOP
        _place := _place + 1;
        IF _lists[_place] <> _list THEN
            _list := _lists[_place];
            {assignments}
        END IF;
        _seen := NULL;
        _failure := NULL;
        _asked_at := pg_catalog.clock_timestamp();
        IF NOT _keeps_plans THEN
            EXECUTE 'DISCARD PLANS';
        END IF;
        BEGIN
            _subject := coalesce(
                pg_catalog.json_extract_path_text(_claim::pg_catalog.json, 'sub'), '');
            PERFORM pg_catalog.set_config('request.jwt.claims', _claim, true),
                pg_catalog.set_config('request.jwt.claim.sub', _subject, true),
                pg_catalog.set_config('app.current_user_id', _subject, true);
            SELECT pg_catalog.array_agg(_asked.number) INTO _seen FROM (
                SELECT pg_catalog.generate_subscripts(_values_1, 1) AS number, {columns}
            ) AS _asked
            WHERE {condition};
            RAISE SQLSTATE {judged};
        EXCEPTION
            WHEN SQLSTATE {judged} THEN NULL;
            WHEN QUERY_CANCELED THEN
                _seen := NULL;
                _failure := CASE WHEN pg_catalog.clock_timestamp() - _asked_at < _asked_at - _began
                    THEN {out_of_time} ELSE SQLSTATE END;
            WHEN OTHERS OR ASSERT_FAILURE THEN _seen := NULL; _failure := SQLSTATE;
        END;
        IF _seen IS NOT NULL OR _failure IS NOT NULL THEN
            RETURN NEXT;
        END IF;
        EXIT WHEN _failure IN ({out_of_time}, {timed_out});
    END LOOP;
    IF pg_catalog.to_regclass({table_name})::oid IS DISTINCT FROM {oid}::oid{or_changed} THEN
        RAISE SQLSTATE {renamed};
    END IF;
END
"""
_CREATION = """
    CREATE OR REPLACE FUNCTION pg_temp.{name}(
        _keeps_plans boolean, _xids bigint[], _claims text[], _lists int[], {parameters})
    RETURNS TABLE (_place int, _seen int[], _failure text)
    LANGUAGE plpgsql SET search_path = {search_path} AS {body}
"""
_CALL = (
    "SELECT * FROM pg_temp.{name}(%s::boolean, %s::bigint[], %s::text[], %s::int[], {values})"
)

# The table is locked since the first look at it, so these are the policies that judged.
_OR_CHANGED = """ OR ARRAY(
        SELECT policy.oid::text || ':' || policy.xmin::text FROM pg_catalog.pg_policy AS policy
        WHERE policy.polrelid = {oid} AND policy.polcmd IN ('r', '*') ORDER BY policy.oid
    ) IS DISTINCT FROM {versions}::text[]"""

# Without OFFSET the planner may join, and compare everything with everything.
_IS_SEEN_NOW = "EXISTS (SELECT FROM {table} AS _current WHERE {comparisons} OFFSET 0)"
_HAS_KEY = "_current.{name} OPERATOR({operator}) _asked.{value}::{type}"
# %L writes any value as its type does, and NULL as nothing else.
_IS_UNCHANGED = (
    "pg_catalog.format('%L', _current.{name}) = pg_catalog.format('%L', _asked.{value})"
)
# The table's name for the image, as policies mean their own columns by it.
_WAS_SEEN = """(
    SELECT {policies} FROM pg_catalog.unnest(ARRAY[_asked._value_1::{table}]) AS {name})"""


@frozen(cache_hash=True)
class RowQuery:
    """A function: how it is made, and how it is called with transactions, claims, list numbers and columns of lists.

    Before these comes whether plans may be kept from one set of claims to the next (`plan_reuse`).

    Two queries are the same if they have the same name, which is a digest of all there is to it.
    `claims_read` are the claims on which its answers depend, None if it may be any.
    """

    name: str
    creation: str = field(eq=False, repr=False)
    call: str = field(eq=False, repr=False)
    schema: str = field(eq=False)
    table: str = field(eq=False)
    role: str = field(eq=False)
    claims_read: frozenset[str] | None = field(default=None, eq=False)


def current_row_query(access: Access, compared: Iterable[int] = ()) -> RowQuery:
    """Return the query for rows that are there now, by the values of their key.

    The values of the columns `compared`, which come behind those of the key, must still be the same.
    """
    table = sql.Identifier(access.schema, access.table)
    comparisons = []
    for place, column in enumerate(access.key, start=1):
        operator_schema, operator = column.operator
        comparisons.append(
            sql.SQL(_HAS_KEY).format(
                name=sql.Identifier(column.name),
                operator=sql.SQL("{}.{}").format(
                    sql.Identifier(operator_schema), sql.SQL(operator)
                ),
                value=_value(place),
                type=sql.Identifier(*column.type),
            )
        )
    for place, number in enumerate(compared, start=len(access.key) + 1):
        name = sql.Identifier(access.names[number])
        comparisons.append(sql.SQL(_IS_UNCHANGED).format(name=name, value=_value(place)))
    condition = sql.SQL(_IS_SEEN_NOW).format(
        table=table, comparisons=sql.SQL(" AND ").join(comparisons)
    )
    return _query(access, condition, len(comparisons))


def old_row_query(access: Access) -> RowQuery:
    """Return the query for rows as they were: the policies are applied to their image, by hand."""
    permissive = [policy.expression for policy in access.policies if policy.is_permissive]
    restrictive = [policy.expression for policy in access.policies if not policy.is_permissive]
    either = (
        sql.SQL(" OR ").join(map(_verbatim, permissive)) if permissive else sql.SQL("false")
    )
    condition = sql.SQL(_WAS_SEEN).format(
        policies=sql.SQL(" AND ").join([_bracketed(either), *map(_verbatim, restrictive)]),
        table=sql.Identifier(access.schema, access.table),
        name=sql.Identifier(access.table),
    )
    return _query(access, condition, 1)


def text_array(values: Sequence[str | None]) -> str:
    """Return the values as Postgres writes an array of texts."""
    return "{" + ",".join(map(_array_element, values)) + "}"


def row_text(values: Iterable[str | None]) -> str:
    """Return the values as Postgres writes a row."""
    return "(" + ",".join(map(_row_element, values)) + ")"


def _query(access: Access, condition: sql.Composable, width: int) -> RowQuery:
    places = range(1, width + 1)
    oid = sql.Literal(access.oid)
    read = _claims_read(access)
    or_changed: sql.Composable = sql.SQL("")
    if read is not None:
        versions = sql.Literal(list(access.reading.versions))
        or_changed = sql.SQL(_OR_CHANGED).format(oid=oid, versions=versions)
    body = sql.SQL(_FUNCTION).format(
        declarations=_numbered("_values_{} text[];", places),
        assignments=_numbered("_values_{0} := _lists_{0}[_list]::text[];", places),
        columns=sql.SQL(", ").join(
            sql.SQL("pg_catalog.unnest(_values_{0}) AS _value_{0}").format(sql.SQL(str(place)))
            for place in places
        ),
        condition=condition,
        role=sql.Literal(access.role),
        table_name=sql.Literal(sql.Identifier(access.schema, access.table).as_string()),
        oid=oid,
        or_changed=or_changed,
        unfinished=sql.Literal(UNFINISHED),
        judged=sql.Literal(JUDGED),
        renamed=sql.Literal(RENAMED),
        out_of_time=sql.Literal(OUT_OF_TIME),
        timed_out=sql.Literal(QUERY_CANCELED),
    )
    text = body.as_string()
    meaning = f"{text} {None if read is None else sorted(read)}"
    name = "visible_" + hashlib.sha256(meaning.encode()).hexdigest()[:32]
    parameters = sql.SQL(", ").join(sql.SQL(f"_lists_{place} text[]") for place in places)
    creation = sql.SQL(_CREATION).format(
        name=sql.Identifier(name),
        parameters=parameters,
        search_path=sql.SQL(SEARCH_PATH),
        body=sql.Literal(text),
    )
    call = sql.SQL(_CALL).format(
        name=sql.Identifier(name), values=sql.SQL(", ").join([sql.SQL("%s::text[]")] * width)
    )
    return RowQuery(
        name,
        creation.as_string(),
        call.as_string(),
        access.schema,
        access.table,
        access.role,
        read,
    )


def _claims_read(access: Access) -> frozenset[str] | None:
    """Return the claims on which it depends who sees a row: those that policies read, if finding it reads none."""
    is_own = all(column.type[0] == column.operator[0] == "pg_catalog" for column in access.key)
    return access.reading.claims if is_own else None


def _numbered(template: str, places: Iterable[int]) -> sql.Composable:
    return sql.SQL(" ").join(sql.SQL(template).format(sql.SQL(str(place))) for place in places)


def _value(place: int) -> sql.Composable:
    return sql.SQL(f"_value_{place}")


def _verbatim(expression: str) -> sql.Composable:
    """Return what Postgres wrote of a policy, for Postgres to read."""
    return _bracketed(sql.SQL(expression))


def _bracketed(part: sql.Composable) -> sql.Composable:
    return sql.SQL("({})").format(part)


def _array_element(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _row_element(value: str | None) -> str:
    if value is None:
        return ""
    return '"' + value.replace("\\", "\\\\").replace('"', '""') + '"'
