"""Who may see which columns of a changed row, by the privileges Postgres knows.

Called by the rows actors through the port `Visibility`.
Policies of row security are not asked yet: a table that has row security is for `service_role` alone.

**Invariants**
- Fails closed: an unknown role, a table that is gone, a name Postgres could not store see nothing.
- An answer is older than the question by `MAX_AGE_S` at most.
- Privileges go with the number of a column: one that was renamed since the row was written is the same column,
  and one that took over its name is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field, frozen

from actors.realtime.ports import Sight
from protocol.changes.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from actors.db.pool import Pool
    from actors.realtime.ports import Question
    from protocol.changes.model import Change, Table

#: How long a privilege that was taken away may still count, in seconds.
MAX_AGE_S = 1.0
#: How many answers are remembered; roles come with the tokens, so there is a bound.
MAX_ANSWERS = 10_000
#: The longest name of a role, in bytes (NAMEDATALEN - 1).
MAX_ROLE_BYTES = 63

#: The role that row security does not bind (it has BYPASSRLS in every Supabase project).
SERVICE_ROLE = "service_role"

_NOTHING: frozenset[str] = frozenset()

_COLUMNS = """
    SELECT asked.relation::bigint, asked.role, class.relrowsecurity, ARRAY(
        SELECT attribute.attnum::int FROM pg_catalog.pg_attribute AS attribute
        WHERE attribute.attrelid = class.oid
        AND attribute.attnum > 0 AND NOT attribute.attisdropped
        AND has_column_privilege(role.oid, class.oid, attribute.attnum, 'SELECT'))
    FROM unnest(%s::oid[], %s::text[]) AS asked(relation, role)
    JOIN pg_catalog.pg_class AS class ON class.oid = asked.relation
    JOIN pg_catalog.pg_roles AS role ON role.rolname = asked.role
    WHERE has_schema_privilege(role.oid, class.relnamespace, 'USAGE')
"""

#: A table's OID and a role's name.
_Key = tuple[int, str]


@frozen
class _Answer:
    """What a role may read of a table, by column number; `until` is a time of the clock."""

    numbers: frozenset[int]
    row_security: bool
    until: float
    _names: dict[Table, frozenset[str]] = field(
        factory=dict["Table", frozenset[str]], init=False
    )

    def columns(self, table: Table) -> frozenset[str]:
        """Return the names these columns had in the rows of `table`."""
        names = self._names.get(table)
        if names is None:
            columns = zip(table.relation.columns, table.column_numbers, strict=True)
            names = frozenset(
                column.name for column, number in columns if number in self.numbers
            )
            self._names[table] = names
        return names


@define(eq=False)
class ColumnVisibility:
    """Answers by column privileges; see the port for the contract.

    `clock` returns seconds, from any start.
    """

    _pool: Pool
    _clock: Callable[[], float] = trio.current_time
    _answers: dict[_Key, _Answer] = field(factory=dict[_Key, _Answer], init=False)
    _withheld: set[int] = field(factory=set[int], init=False)

    async def check(self, questions: Sequence[Question]) -> Sequence[Mapping[Change, Sight]]:
        keys = {
            (change.table.relation.oid, question.identity.role)
            for question in questions
            for change in question.changes
        }
        answers = self._fresh(keys)
        missing = {key for key in keys if key not in answers and _is_role_name(key[1])}
        if missing:
            answers.update(await self._ask(missing))
        return [self._seen(question, answers) for question in questions]

    def _seen(
        self, question: Question, answers: Mapping[_Key, _Answer]
    ) -> Mapping[Change, Sight]:
        role = question.identity.role
        seen = {}
        for change in question.changes:
            answer = answers.get((change.table.relation.oid, role))
            columns = self._columns(change.table, role, answer)
            if columns:
                key_only = change.kind is Kind.DELETE and change.table.row_security
                seen[change] = Sight(columns, key_only=key_only)
        return seen

    def _fresh(self, keys: Iterable[_Key]) -> dict[_Key, _Answer]:
        now = self._clock()
        return {
            key: answer
            for key in keys
            if (answer := self._answers.get(key)) is not None and now < answer.until
        }

    async def _ask(self, keys: set[_Key]) -> dict[_Key, _Answer]:
        """Return what Postgres knows of `keys`, and remember it; one query."""
        until = self._clock() + MAX_AGE_S
        relations, roles = zip(*keys, strict=True)
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_COLUMNS, (list(relations), list(roles)))
            rows = await cursor.fetchall()
        # What is not among the rows may not be seen, and that is remembered as well.
        answers = dict.fromkeys(keys, _Answer(frozenset(), row_security=False, until=until))
        for relation, role, row_security, numbers in rows:
            answers[relation, role] = _Answer(frozenset(numbers), row_security, until)
        if len(self._answers) + len(answers) > MAX_ANSWERS:
            self._answers.clear()
        self._answers.update(answers)
        return answers

    def _columns(self, table: Table, role: str, answer: _Answer | None) -> frozenset[str]:
        if answer is None:
            return _NOTHING
        # Either may be the newer one: the table's facts came with its relation message.
        if (answer.row_security or table.row_security) and role != SERVICE_ROLE:
            self._log_withheld(table)
            return _NOTHING
        return answer.columns(table)

    def _log_withheld(self, table: Table) -> None:
        relation = table.relation
        if relation.oid not in self._withheld:
            self._withheld.add(relation.oid)
            structlog.get_logger().warning(
                "table.withheld", schema=relation.schema, table=relation.name
            )


def _is_role_name(role: str) -> bool:
    """Whether Postgres could have a role of this name; a parameter it cannot take would spoil the whole batch."""
    try:
        size_bytes = len(role.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size_bytes <= MAX_ROLE_BYTES and "\0" not in role
