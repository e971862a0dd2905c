"""The doctor says what is well, what is not, and what mends it: every remedy it names does."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import evolve

from actors.auth.keys import parse_key_set
from actors.commands.doctor import table
from actors.commands.keys import check_key_set, check_secret
from actors.commands.proxy import check_url
from actors.db.change_sources import SourceMode
from actors.db.checkup import check_up
from actors.db.driver import connect
from actors.db.findings import Finding, Level
from actors.settings import DEVELOPMENT_SECRET, Settings
from tests.support.embedded import query
from tests.support.postgres import running_server
from tests.support.running_node import running_node
from tests.support.signing import ec_key, key_set

if TYPE_CHECKING:
    from tests.support.postgres import Database

pytestmark = pytest.mark.postgres

SECRET = "s" * 32


def troupe(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "actors.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def found(database: Database, subject: str) -> list[Finding]:
    async with await connect(database.conninfo) as connection:
        findings = await check_up(connection, "supabase_realtime")
    return [finding for finding in findings if finding.subject == subject]


@pytest.mark.parametrize("table", ["public.notes", "realtime.messages"])
async def test_a_policy_that_calls_a_wrongly_declared_function_is_named(database, table):
    assert troupe("migrate", "--database-url", database.conninfo).returncode == 0
    database.execute(
        "create table public.notes (id int primary key)",
        "alter publication supabase_realtime add table public.notes",
        "create function public.who() returns uuid language sql immutable as"
        " $$ select (current_setting('request.jwt.claims')::jsonb ->> 'sub')::uuid $$",
    )
    assert [finding.level for finding in await found(database, "volatility")] == [Level.OK]
    database.execute(f'create policy "Me" on {table} using (public.who() is not null)')

    (finding,) = await found(database, "volatility")
    assert finding.level is Level.WARNING
    assert f'"Me" of {table.removeprefix("public.")}' in finding.sentence
    database.execute(finding.remedy)

    assert await found(database, "volatility") == []


def test_a_migrated_database_is_well_but_for_what_is_its_owner_s_business(database):
    assert troupe("migrate", "--database-url", database.conninfo).returncode == 0

    examined = troupe(
        "doctor", "--json", "--database-url", database.conninfo, "--jwt-secret", SECRET
    )

    assert examined.stderr == ""
    findings = json.loads(examined.stdout)
    wrong = {
        finding["subject"]: finding["level"] for finding in findings if finding["level"] != "ok"
    }
    assert wrong == {"retention": "warning", "publication": "warning", "policies": "warning"}
    assert examined.returncode == Level.WARNING


def test_all_is_green_when_its_remedies_were_followed(database):
    database.execute("create table notes (id int primary key)")
    troupe("migrate", "--database-url", database.conninfo)
    database.execute(
        "alter publication supabase_realtime add table notes",
        "create policy p on realtime.messages for select to authenticated using (true)",
    )

    examined = troupe("doctor", "--database-url", database.conninfo, "--jwt-secret", SECRET)

    lines = examined.stdout.splitlines()
    assert {line.split()[0] for line in lines if not line.lstrip().startswith("->")} == {
        "OK",
        "WARNING",
    }
    assert [line.split()[1] for line in lines if line.startswith("WARNING")] == ["retention"]


def test_migrating_twice_does_nothing_the_second_time(database):
    first = troupe("migrate", "--database-url", database.conninfo)
    second = troupe("migrate", "--database-url", database.conninfo)

    assert "done     0003_messages" in first.stdout
    assert second.stdout == "Nothing to do: everything is installed.\n"
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_role_without_rights_gets_precise_sentences(database):
    name = f"patient_{database.name}"
    database.execute(f"create role {name} login")
    try:
        migrated = troupe("migrate", "--database-url", database.conninfo_as(name))
        examined = troupe("doctor", "--json", "--database-url", database.conninfo_as(name))
    finally:
        database.execute(f"drop role {name}")

    assert migrated.returncode == 1
    assert "the login role needs CREATE on the database" in migrated.stdout
    assert examined.returncode == Level.ERROR
    remedies = {
        finding["subject"]: finding["remedy"]
        for finding in json.loads(examined.stdout)
        if finding["level"] != "ok"
    }
    assert remedies["login role"] == f"ALTER ROLE {name} REPLICATION;"
    assert remedies["realtime.messages"] == "-- run: troupe migrate"


@pytest.mark.parametrize("command", ["doctor", "migrate"])
def test_without_a_database_the_command_says_so(command):
    result = troupe(command)

    assert result.returncode == 2
    assert "--database-url must name a database" in result.stderr


@pytest.mark.parametrize("command", ["doctor", "migrate"])
def test_a_database_that_is_away_is_one_sentence(command):
    result = troupe(command, "--database-url", "host=127.0.0.1 port=1")

    assert result.returncode == 2
    assert (
        result.stderr
        == "troupe: Postgres cannot be reached: start it or correct the database URL.\n"
    )


@pytest.mark.parametrize(
    ("statement", "subject"),
    [
        ("create table keyless (n int)", "primary key"),
        (
            "create table silent (n int primary key); alter table silent replica identity nothing",
            "replica identity",
        ),
    ],
)
async def test_a_table_that_cannot_be_followed_well_is_named_and_its_remedy_helps(
    database, statement, subject
):
    name = statement.split()[2]
    query(database.conninfo, statement)
    query(database.conninfo, f"create publication supabase_realtime for table {name}")

    (finding,) = await found(database, subject)
    assert finding.level is Level.WARNING
    assert f"public.{name}" in finding.sentence
    query(database.conninfo, finding.remedy)

    assert {finding.level for finding in await found(database, subject)} <= {Level.OK}


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_a_role_that_cannot_be_become_is_named_and_its_remedy_helps(database, role):
    name = f"login_{database.name}"
    troupe("migrate", "--database-url", database.conninfo)
    database.execute(f"create role {name} login")
    try:
        async with await connect(database.conninfo_as(name)) as connection:
            findings = [
                finding
                for finding in await check_up(connection, "supabase_realtime")
                if finding.subject == "role"
                and finding.sentence.endswith(f"{role} to ask its policies.")
            ]
            assert [finding.level for finding in findings] == [Level.ERROR]
            database.execute(findings[0].remedy)
            again = await check_up(connection, "supabase_realtime")
    finally:
        database.execute(f"drop role {name}")

    assert f"{role} is there, and {name} can become it." in [
        finding.sentence for finding in again
    ]


async def test_a_publication_that_leaves_something_out_is_mended_by_its_remedy(database):
    database.execute(
        "create table notes (id int primary key)",
        "create publication supabase_realtime for table notes with (publish = 'insert')",
    )

    (finding,) = await found(database, "publication")
    assert finding.level is Level.WARNING
    query(database.conninfo, finding.remedy)

    assert [finding.level for finding in await found(database, "publication")] == [Level.OK]


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, Level.OK),
        ({"jwt_secret": None}, Level.WARNING),
        ({"jwt_secret": DEVELOPMENT_SECRET}, Level.WARNING),
        ({"jwt_secret": DEVELOPMENT_SECRET, "env": "production"}, Level.ERROR),
        ({"jwt_secret": "short"}, Level.WARNING),
        ({"jwt_secret": None, "jwt_secret_file": SECRET}, Level.OK),
    ],
)
def test_a_secret_that_can_be_guessed_is_told(change, level):
    settings = evolve(Settings(jwt_secret=SECRET), **change)

    assert [finding.level for finding in check_secret(settings)] == [level]


def test_the_table_puts_each_remedy_below_its_finding():
    text = table(
        [Finding(Level.OK, "a", "Well."), Finding(Level.ERROR, "long", "Ill.", "CURE;")]
    )

    assert text.splitlines() == [
        "OK      a     Well.",
        "ERROR   long  Ill.",
        "              -> CURE;",
    ]


def test_of_a_secret_that_is_not_needed_nothing_is_said():
    settings = Settings(jwt_jwks=parse_key_set(key_set(ec_key())))

    assert check_secret(settings) == []


@pytest.mark.parametrize(
    ("change", "levels"),
    [
        ({}, []),
        ({"jwt_jwks": key_set(ec_key())}, [Level.OK]),
        ({"jwt_jwks": key_set(ec_key(), {"kty": "?"})}, [Level.OK, Level.WARNING]),
        ({"jwt_jwks": '{"keys": []}'}, [Level.ERROR]),
    ],
)
async def test_a_jwks_that_has_no_keys_is_told(change, levels):
    settings = Settings(**{name: parse_key_set(text) for name, text in change.items()})

    assert [finding.level for finding in await check_key_set(settings)] == levels


async def test_a_jwks_that_cannot_be_fetched_is_told():
    (finding,) = await check_key_set(Settings(jwt_jwks_url="http://127.0.0.1:1/jwks"))

    assert finding.level is Level.ERROR
    assert "cannot fetch the JWKS at http://127.0.0.1/jwks" in finding.sentence


@pytest.mark.parametrize(
    ("harm", "subject"),
    [
        ("alter table realtime.messages disable row level security", "row security"),
        ("alter table realtime.messages force row level security", "probes"),
        ("alter table realtime.messages owner to {stranger}", "probes"),
        ("revoke temporary on database {database} from public", "temporary functions"),
    ],
)
async def test_what_keeps_policies_from_being_asked_is_named_and_its_remedy_helps(
    database, harm, subject
):
    login, stranger = f"login_{database.name}", f"stranger_{database.name}"
    troupe("migrate", "--database-url", database.conninfo)
    database.execute(
        f"create role {login} login",
        f"create role {stranger}",
        f"grant usage, create on schema realtime to {login}, {stranger}",
        f"alter table realtime.messages owner to {login}",
        harm.format(stranger=stranger, database=database.name),
    )
    try:
        async with await connect(database.conninfo_as(login)) as connection:
            findings = [
                finding
                for finding in await check_up(connection, "supabase_realtime")
                if finding.subject == subject
            ]
            assert [finding.level for finding in findings] == [Level.ERROR]
            database.execute(*findings[0].remedy.split(";")[:-1])
            again = await check_up(connection, "supabase_realtime")
    finally:
        database.execute(
            "alter table realtime.messages owner to current_user",
            f"drop owned by {login}, {stranger}",
            f"drop role {login}, {stranger}",
        )

    assert {finding.level for finding in again if finding.subject == subject} <= {Level.OK}


class Proxy:
    """Stands before a server as nginx does by itself: it passes requests on, but no upgrade."""

    def __init__(self, port: int, *, passes_on_upgrade: bool) -> None:
        self._port = port
        self._passes_on_upgrade = passes_on_upgrade

    async def serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", self._port)
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._answer, server, client)
            async for data in client:
                await server.send_all(
                    data if self._passes_on_upgrade else without_upgrade(data)
                )
            nursery.cancel_scope.cancel()

    async def _answer(self, server: trio.SocketStream, client: trio.SocketStream) -> None:
        async for data in server:
            await client.send_all(data)


def without_upgrade(request: bytes) -> bytes:
    lines = request.split(b"\r\n")
    return b"\r\n".join(line for line in lines if b"pgrade" not in line)


@pytest.mark.parametrize(
    ("passes_on_upgrade", "secret", "levels"),
    [
        (True, DEVELOPMENT_SECRET, [Level.OK, Level.OK]),
        (False, DEVELOPMENT_SECRET, [Level.OK, Level.ERROR]),
        (True, SECRET, [Level.OK, Level.ERROR]),
    ],
    ids=["well", "no upgrade", "another secret"],
)
async def test_what_stands_before_the_server_is_tried(passes_on_upgrade, secret, levels):
    async with running_node(None, no_database=True) as node, trio.open_nursery() as nursery:
        proxy = Proxy(node.port, passes_on_upgrade=passes_on_upgrade)
        listen = partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1")
        listeners = await nursery.start(listen)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"

        findings = await check_url(url, Settings(jwt_secret=secret))
        nursery.cancel_scope.cancel()

    assert [finding.level for finding in findings] == levels


async def test_an_address_where_nobody_is_gives_two_errors():
    findings = await check_url("http://127.0.0.1:1", Settings())

    assert [finding.level for finding in findings] == [Level.ERROR] * 2


@pytest.mark.parametrize("mode", [SourceMode.AUTO, SourceMode.NOTIFY])
async def test_where_triggers_may_stand_in_what_the_log_needs_is_a_warning(mode):
    with running_server(wal_level="replica", max_replication_slots="0") as server:
        async with await connect(server.conninfo()) as connection:
            strict = await check_up(connection, "supabase_realtime")
            findings = await check_up(connection, "supabase_realtime", mode)

    assert Level.ERROR in {one.level for one in strict if one.subject == "wal_level"}
    (wal_level,) = (one for one in findings if one.subject == "wal_level")
    assert wal_level.level is Level.WARNING
    assert "is lost" in wal_level.sentence
    assert "replication slots" not in {one.subject for one in findings}
