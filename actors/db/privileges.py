"""What a role may read of a table, and whether row security binds it: facts of the catalog, a moment old at most.

Called by `visibility`; `row_query` makes queries of what is found here.

**Invariants**
- An answer is older than the question by `MAX_AGE_S` at most.
- Fails closed: a role that is gone, or that Postgres could not have, may read nothing.
- Privileges go with the number of a column: one that was renamed since the row was written is the same column,
  and one that took over its name is another.

**Source**: PostgreSQL 18 documentation, 5.9 "Row Security Policies", 52.7 `pg_attribute`, 52.26 `pg_index`,
52.38 `pg_policy`; `check_enable_rls` for whom row security binds. Read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import trio
from attrs import define, field, frozen

from actors.db.coalescer import Coalescer
from actors.db.policy_claims import claims_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from actors.db.pool import Pool
    from protocol.changes.model import Table

#: How long a privilege that was taken away may still count, in seconds.
MAX_AGE_S = 1.0
#: How many answers are remembered; roles come with the tokens, so there is a bound.
MAX_ANSWERS = 10_000
#: The longest name of a role, in bytes (NAMEDATALEN - 1).
MAX_ROLE_BYTES = 63
#: The catalog may be locked.
TIMEOUT_S = 5.0

# Without a search path every name comes with its schema.
_QUALIFIED = "SET LOCAL search_path = ''"

# The operator of a key is the one its index has: another one could find other rows, and could not use the index.
_ACCESS = """
    SELECT asked.relation::bigint, asked.role, namespace.nspname, class.relname,
        class.relrowsecurity,
        coalesce(role.rolsuper OR role.rolbypassrls OR (
            NOT class.relforcerowsecurity AND pg_has_role(role.oid, class.relowner, 'USAGE')), false),
        ARRAY(
            SELECT ARRAY[attribute.attnum::text, attribute.attname]
            FROM pg_catalog.pg_attribute AS attribute
            WHERE attribute.attrelid = class.oid AND attribute.attnum > 0
            AND NOT attribute.attisdropped ORDER BY attribute.attnum),
        ARRAY(
            SELECT attribute.attnum::int FROM pg_catalog.pg_attribute AS attribute
            WHERE attribute.attrelid = class.oid AND attribute.attnum > 0
            AND NOT attribute.attisdropped
            AND has_schema_privilege(role.oid, class.relnamespace, 'USAGE')
            AND has_column_privilege(role.oid, class.oid, attribute.attnum, 'SELECT')),
        ARRAY(
            SELECT ARRAY[
                attribute.attnum::text, attribute.attname, type_space.nspname, type.typname,
                operator_space.nspname, operator.oprname]
            FROM pg_catalog.pg_index AS index
            CROSS JOIN unnest(index.indkey) WITH ORDINALITY AS key(number, place)
            JOIN pg_catalog.pg_attribute AS attribute
                ON attribute.attrelid = class.oid AND attribute.attnum = key.number
            JOIN pg_catalog.pg_type AS type ON type.oid = attribute.atttypid
            JOIN pg_catalog.pg_namespace AS type_space ON type_space.oid = type.typnamespace
            JOIN pg_catalog.pg_opclass AS opclass ON opclass.oid = index.indclass[key.place - 1]
            LEFT JOIN pg_catalog.pg_amop AS member
                ON member.amopfamily = opclass.opcfamily AND member.amopstrategy = 3
                AND member.amopmethod = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'btree')
                AND member.amoplefttype = opclass.opcintype
                AND member.amoprighttype = opclass.opcintype
            LEFT JOIN pg_catalog.pg_operator AS operator ON operator.oid = member.amopopr
            LEFT JOIN pg_catalog.pg_namespace AS operator_space
                ON operator_space.oid = operator.oprnamespace
            WHERE index.indrelid = class.oid AND index.indisprimary
            AND key.place <= index.indnkeyatts
            ORDER BY key.place),
        ARRAY(
            SELECT ARRAY[policy.polpermissive::text, pg_get_expr(policy.polqual, class.oid)]
            FROM pg_catalog.pg_policy AS policy
            WHERE policy.polrelid = class.oid AND policy.polcmd IN ('r', '*')
            AND policy.polqual IS NOT NULL
            AND EXISTS (
                SELECT FROM unnest(policy.polroles) AS bound(oid)
                WHERE bound.oid = 0 OR pg_has_role(role.oid, bound.oid, 'USAGE'))
            ORDER BY policy.polname),
        ARRAY(
            SELECT attribute.attname
            FROM pg_catalog.pg_attribute AS attribute
            JOIN pg_catalog.pg_type AS type ON type.oid = attribute.atttypid
            WHERE attribute.attrelid = class.oid AND attribute.attnum > 0
            AND (type.oid < '16384' OR type.typtype = 'e')),
        ARRAY(
            SELECT ARRAY[
                policy.oid::text || ':' || policy.xmin::text, pg_get_expr(policy.polqual, class.oid),
                EXISTS (
                    SELECT FROM pg_catalog.pg_depend AS used
                    WHERE used.classid = 'pg_catalog.pg_policy'::regclass AND used.objid = policy.oid
                    AND (used.refclassid <> 'pg_catalog.pg_class'::regclass OR used.refobjid <> class.oid))::text]
            FROM pg_catalog.pg_policy AS policy
            WHERE policy.polrelid = class.oid AND policy.polcmd IN ('r', '*')
            ORDER BY policy.oid)
    FROM unnest(%s::oid[], %s::text[]) AS asked(relation, role)
    JOIN pg_catalog.pg_class AS class ON class.oid = asked.relation
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_catalog.pg_roles AS role ON role.rolname = asked.role
"""

#: A table's OID and a role's name.
Key = tuple[int, str]


@frozen
class KeyColumn:
    """A column of the primary key as it is now; the type and the operator for equality come as schema and name."""

    number: int
    name: str
    type: tuple[str, str]
    operator: tuple[str, str]


@frozen
class Policy:
    """One policy of a table that binds the role when it reads; `expression` has every name qualified."""

    is_permissive: bool
    expression: str


@frozen
class Reading:
    """What all policies of a table for reading, whomever they bind, read of claims, and as of which versions of them.

    `claims` is None where it may be anything.
    """

    claims: frozenset[str] | None
    versions: tuple[str, ...]


@frozen(eq=False)
class Access:
    """A table as a role finds it.

    `is_exempt` says that row security, if there is any, does not bind the role.
    `names` has all columns by their numbers and in their order, as they are called now;
    `readable` has the numbers of those that the role may select.
    `key` is empty also where the primary key is not one of plain equality; `has_key` tells.
    """

    oid: int
    role: str
    schema: str
    table: str
    row_security: bool
    is_exempt: bool
    names: Mapping[int, str]
    readable: frozenset[int]
    has_key: bool
    key: tuple[KeyColumn, ...]
    policies: tuple[Policy, ...]
    reading: Reading
    _columns: WeakKeyDictionary[Table, frozenset[str]] = field(
        factory=WeakKeyDictionary, init=False
    )

    @property
    def is_key_readable(self) -> bool:
        return all(column.number in self.readable for column in self.key)

    def columns(self, table: Table) -> frozenset[str]:
        """Return the names that the columns which may be read had in the rows of `table`."""
        known = self._columns.get(table)
        if known is None:
            columns = zip(table.relation.columns, table.column_numbers, strict=True)
            known = frozenset(
                column.name for column, number in columns if number in self.readable
            )
            self._columns[table] = known
        return known


@frozen
class _Remembered:
    """What is known until a time of the clock; no access means that there is no such table."""

    access: Access | None
    until: float


@define(eq=False)
class Privileges:
    """Answers from memory, or by one query for everybody who waits; `clock` returns seconds, from any start."""

    _pool: Pool
    _timeout_s: float = field(default=TIMEOUT_S, kw_only=True)
    _clock: Callable[[], float] = trio.current_time
    _remembered: dict[Key, _Remembered] = field(factory=dict[Key, _Remembered], init=False)
    _questions: Coalescer[set[Key], Mapping[Key, Access]] = field(init=False)

    @_questions.default
    def _make_questions(self) -> Coalescer[set[Key], Mapping[Key, Access]]:
        return Coalescer(self._ask)

    async def find(self, keys: Iterable[Key]) -> Mapping[Key, Access]:
        """Return what is known of each key; a table that is gone is missing.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        now = self._clock()
        found: dict[Key, Access] = {}
        missing: set[Key] = set()
        for key in keys:
            known = self._remembered.get(key)
            if known is None or now >= known.until:
                missing.add(key)
            elif known.access is not None:
                found[key] = known.access
        if missing:
            answers = await self._questions.answer(missing)
            found |= {key: answers[key] for key in missing & answers.keys()}
        return found

    def forget(self, oid: int, role: str) -> None:
        """Ask Postgres again the next time, for what is known turned out to be out of date."""
        self._remembered.pop((oid, role), None)

    async def _ask(self, requests: Sequence[set[Key]]) -> Mapping[Key, Access]:
        keys = set[Key]().union(*requests)
        until = self._clock() + MAX_AGE_S
        relations, roles = zip(*keys, strict=True)
        async with self._pool.transaction(self._timeout_s) as connection:
            await connection.execute(_QUALIFIED)
            cursor = await connection.execute(_ACCESS, (list(relations), list(roles)))
            rows = await cursor.fetchall()
        answers = {(access.oid, access.role): access for access in map(_access, rows)}
        if len(self._remembered) + len(keys) > MAX_ANSWERS:
            self._remembered.clear()
        for key in keys:
            self._remembered[key] = _Remembered(answers.get(key), until)
        return answers


def role_name(role: str) -> str:
    """Return the role, or nothing if Postgres could have none of this name."""
    try:
        size_bytes = len(role.encode())
    except UnicodeEncodeError:
        return ""
    return role if size_bytes <= MAX_ROLE_BYTES and "\0" not in role else ""


def _access(row: tuple[Any, ...]) -> Access:
    oid, role, schema, table, row_security, is_exempt, names, readable, key, *policies = row
    binding, own_columns, reading = policies
    plain = [column for column in key if None not in column]
    return Access(
        oid,
        role,
        schema,
        table,
        row_security,
        is_exempt,
        {int(number): name for number, name in names},
        frozenset(readable),
        bool(key),
        tuple(_key_column(*column) for column in plain) if len(plain) == len(key) else (),
        tuple(Policy(kind == "true", expression) for kind, expression in binding),
        _reading(reading, own_columns),
    )


def _reading(
    policies: Sequence[tuple[str, str | None, str]], columns: Sequence[str]
) -> Reading:
    """Return what is read by policies: version, condition, and whether they use anything but Postgres and the table."""
    expressions = [expression for _, expression, _ in policies]
    is_known = all(expressions) and not any(uses == "true" for _, _, uses in policies)
    claims = claims_read(filter(None, expressions), columns) if is_known else None
    return Reading(claims, tuple(version for version, _, _ in policies))


def _key_column(
    number: str,
    name: str,
    type_schema: str,
    type_name: str,
    operator_schema: str,
    operator: str,
) -> KeyColumn:
    return KeyColumn(int(number), name, (type_schema, type_name), (operator_schema, operator))
