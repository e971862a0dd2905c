"""What Postgres says of subscriptions and filters, from memory: the test sets tables, roles and what they may read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from actors.realtime.change_ports import Extent, PublishedTable, TableAccess, Undecided
from protocol.changes.comparing import ColumnFacts, make_equality, make_test
from protocol.changes.filters import Operator
from protocol.changes.patterns import NamePattern
from protocol.changes.predicates import Clause, Place, Predicate, Verdict
from tests.support.source import NOTES

if TYPE_CHECKING:
    from actors.realtime.change_ports import FilterRequest, Scope
    from protocol.changes.model import Table

_TEXT = 25


@define(eq=False)
class MemoryDatabase:
    """Implements `ports.Subscriptions` and `ports.Filters` for the tables it has.

    Every column can be compared by every operator; `judged_elsewhere` are the columns where only Postgres can tell,
    which is then what this does. A value `fault` makes it raise, in a filter as in a row.
    """

    tables: list[Table] = field(factory=lambda: [NOTES])
    roles: set[str] = field(factory=lambda: {"anon", "authenticated", "service_role"})
    #: Of which role which tables (by OID) have a primary key it may not read.
    unreadable: set[tuple[str, int]] = field(factory=set)
    #: Schema and name of tables that are there and not published.
    unpublished: set[tuple[str, str]] = field(factory=set)
    judged_elsewhere: set[str] = field(factory=set)
    errors: list[Exception] = field(factory=list)
    #: How many scopes, filters and rows were asked for in each call.
    resolved: list[int] = field(factory=list, init=False)
    compiled: list[int] = field(factory=list, init=False)
    judged: list[int] = field(factory=list, init=False)
    #: How often somebody looked what is published.
    looks: int = field(default=0, init=False)
    _gate: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self):
        self._gate.set()

    def hold(self) -> None:
        """Let whoever wants to subscribe wait."""
        self._gate = trio.Event()

    async def hold_after(self, times: int) -> None:
        """Let who wants to subscribe wait once that many were asked for."""
        while len(self.resolved) < times:
            await trio.lowlevel.checkpoint()
        self.hold()

    def release(self) -> None:
        self._gate.set()

    def alter(self, table: Table) -> None:
        """Put a table in the place of the one of the same OID."""
        self.tables = [
            table if table.relation.oid == known.relation.oid else known
            for known in self.tables
        ]

    async def resolve(self, scopes):
        await self._ask(self.resolved, len(scopes))
        await self._gate.wait()
        return [self._extent(scope) for scope in scopes]

    async def access(self, role, schema, table):
        await trio.lowlevel.checkpoint()
        names = {(one.relation.schema, one.relation.name) for one in self.tables}
        if (schema, table) not in names | self.unpublished:
            return TableAccess.MISSING
        return TableAccess.GRANTED if role in self.roles else TableAccess.DENIED

    async def published(self):
        await trio.lowlevel.checkpoint()
        self.looks += 1
        return repr([(table.relation.schema, table.relation.name) for table in self.tables])

    async def compile(self, requests):
        await self._ask(self.compiled, len(requests))
        return [self._predicate(request) for request in requests]

    async def judge(self, questions):
        await self._ask(self.judged, len(questions))
        return [self._judge(predicate, values) for predicate, values in questions]

    async def _ask(self, calls, count):
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)
        calls.append(count)

    def _extent(self, scope: Scope) -> Extent:
        schema, name = NamePattern(scope.schema), NamePattern(scope.table)
        found = [
            table
            for table in self.tables
            if schema.matches(table.relation.schema) and name.matches(table.relation.name)
        ]
        listed = tuple(
            PublishedTable(oid, (scope.role, oid) not in self.unreadable)
            for oid in (table.relation.oid for table in found)
        )
        return Extent(bool(found), listed if scope.is_listed else (), self._fault(scope, found))

    def _fault(self, scope: Scope, tables: list[Table]) -> str | None:
        if scope.role not in self.roles:
            return f'ERROR 42704 (undefined_object) role "{scope.role}" does not exist'
        for table in tables:
            names = {column.name for column in table.relation.columns}
            for column in scope.select or ():
                if column not in names:
                    return f"ERROR P0001 (raise_exception) invalid column for select {column}"
        return None

    def _predicate(self, request: FilterRequest) -> Predicate | str:
        table = next(t for t in self.tables if t.relation.oid == request.relation_oid)
        names = [column.name for column in table.relation.columns]
        clauses, places = [], []
        for condition in request.conditions:
            if condition.column not in names:
                column = condition.column
                return f"ERROR P0001 (raise_exception) invalid column for filter {column}"
            if condition.value == "fault":
                return "ERROR 22P02 (invalid_text_representation) invalid input syntax"
            index = names.index(condition.column)
            clauses.append(self._clause(condition, table, index))
            places.append(Place(index, clauses[-1].type_oid))
        return Predicate(request.relation_oid, tuple(clauses), tuple(places))

    def _clause(self, condition, table: Table, index: int) -> Clause:
        column = table.relation.columns[index]
        number = table.column_numbers[index]
        oid = column.type_oid
        facts = ColumnFacts(column.name, number, oid, oid, "b", oid == _TEXT, oid == _TEXT)
        values = (
            condition.value.split(",")
            if condition.operator is Operator.IN
            else [condition.value]
        )
        test = make_test(condition, facts, values)
        equality = make_equality(condition, facts, values)
        if condition.column in self.judged_elsewhere:
            return Clause(condition, number, oid, lambda _value: Verdict.ASK, test)
        return Clause(condition, number, oid, test, None, equality)

    @staticmethod
    def _judge(predicate: Predicate, values):
        matches = True
        for clause, place in zip(predicate.clauses, predicate.places, strict=True):
            value = values[place.index]
            if value == "fault":
                return Undecided("ERROR 22012 (division_by_zero) division by zero")
            test = clause.question or clause.test
            matches = matches and test(value) is Verdict.YES
        return matches
