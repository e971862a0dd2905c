"""GoForward's HTTP routes on a whole node with a real Postgres: the example script, hostile texts, restarts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psycopg
import pytest
import trio

from tests.support.goforward import open_channel
from tests.support.goforward_http import USER, Http
from tests.support.hostile_strings import HOSTILE_STRINGS
from tests.support.requirements import require
from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

SCRIPT = Path(__file__).parents[2] / "examples" / "goforward" / "test_realtime_api.sh"
SCHEMA = (
    "create table messages (id int primary key, content text, user_id uuid)",
    "insert into messages values (0, 'kept', null)",
    "create table canary (id int)",
    "insert into canary values (1)",
)


@pytest.fixture
async def prepared(database):
    """A database with tables, whose roles are there as soon as the server has migrated it."""
    database.execute(*SCHEMA)
    return database


def node_of(database, **settings):
    quick = {"join_error_delay_s": 0.0, "connect_error_delay_s": 0.0, "jwt_secret": SECRET}
    return running_node(database.conninfo, **quick, **settings)


@pytest.mark.capability("GF-007", "GF-142", "GF-145", "GF-146", "GF-164")
async def test_the_example_script_finds_every_endpoint_in_order(prepared):
    require(shutil.which("curl"), "curl is missing: apt-get install curl")
    with trio.fail_after(60):
        async with node_of(prepared) as node:
            prepared.execute("grant select on messages to authenticated")
            environment = {
                **os.environ,
                "URL": f"http://127.0.0.1:{node.port}",
                "TOKEN": mint("authenticated", sub=USER),
                "ADMIN_TOKEN": mint("service_role"),
                "TABLE": "messages",
            }
            done = await trio.run_process(
                [str(SCRIPT)], env=environment, capture_stdout=True, check=False
            )

    output = done.stdout.decode()
    assert done.returncode == 0, output
    assert output.endswith("all is well\n")


async def test_channels_and_subscriptions_outlive_the_server(prepared):
    with trio.fail_after(60):
        async with node_of(prepared) as node:
            prepared.execute("grant select on messages to authenticated")
            http = Http(node.port)
            await http.by_admin("POST", "/realtime/triggers/messages")
            await http.by_admin(
                "POST", "/realtime/channels", {"name": "room", "metadata": {"n": 1.50}}
            )
            status, _ = await http.ask(
                "POST", "/realtime/channels/room/subscribe", {"table": "messages"}
            )
            assert status == 200

        async with node_of(prepared) as node, open_channel(node.port, "room", USER) as member:
            http = Http(node.port)
            again, _ = await http.by_admin("POST", "/realtime/channels", {"name": "room"})
            _, listed = await http.ask("GET", "/realtime/subscriptions")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_inserting, prepared)
                change = await member.expect("database_change", "INSERT.messages")
                nursery.cancel_scope.cancel()

    assert again == 409
    assert listed["total"] == 1
    assert change["payload"]["change"]["new_record"]["content"] == "new"


async def keep_inserting(database):
    """Write rows until somebody has seen one: a member is not told when its rows begin to flow."""
    number = 1
    while True:
        database.execute(f"insert into messages values ({number}, 'new', null)")
        number += 1
        await trio.sleep(0.1)


BODIES = {
    "table": lambda text: {"table": text},
    "schema": lambda text: {"table": "messages", "schema": text},
    "columns": lambda text: {"table": "messages", "columns": [text]},
    "condition": lambda text: {"table": "messages", "condition": text},
    "value": lambda text: {
        "table": "messages",
        "condition": "content = '" + text.replace("'", "''") + "'",
    },
}


@pytest.mark.parametrize("place", BODIES)
async def test_hostile_texts_change_nothing_in_the_database(place, prepared):
    with trio.fail_after(120):
        async with node_of(prepared) as node:
            prepared.execute("grant select on messages to authenticated")
            http = Http(node.port)
            await http.by_admin("POST", "/realtime/triggers/messages")
            await http.by_admin("POST", "/realtime/channels", {"name": "room"})
            statuses = set()
            for text in HOSTILE_STRINGS:
                body = BODIES[place](text)
                status, _ = await http.ask("POST", "/realtime/channels/room/subscribe", body)
                statuses.add(status)
            still, _ = await http.ask("GET", "/realtime/channels/room")

    with psycopg.connect(prepared.conninfo) as connection:
        kept = connection.execute("select count(*) from canary").fetchone()
        intruders = connection.execute(
            "select count(*) from pg_roles where rolname = 'intruder'"
        ).fetchone()
    assert statuses <= {200, 400, 404, 429}
    assert still == 200
    assert (kept, intruders) == ((1,), (0,))


async def test_hostile_names_of_channels_and_tables_are_refused(prepared):
    with trio.fail_after(60):
        async with node_of(prepared) as node:
            http = Http(node.port)
            found = set()
            for text in HOSTILE_STRINGS:
                status, answer = await http.by_admin(
                    "POST", "/realtime/channels", {"name": text}
                )
                found.add((status, answer.get("code")))

    assert found <= {(201, None), (409, "CHANNEL_EXISTS"), (400, "INVALID_REQUEST")}


async def test_a_role_that_the_database_does_not_know_has_the_rights_of_authenticated(prepared):
    with trio.fail_after(60):
        async with node_of(prepared) as node:
            prepared.execute("grant select on messages to authenticated")
            http = Http(node.port)
            await http.by_admin("POST", "/realtime/triggers/messages")
            roles = {"read": ["user", "admin"], "write": ["user"], "admin": ["admin"]}
            await http.by_admin(
                "POST", "/realtime/channels", {"name": "room", "permissions": roles}
            )

            by_user = await http.ask(
                "POST",
                "/realtime/channels/room/subscribe",
                {"table": "messages"},
                mint("user", sub=USER),
            )
            by_guest = await http.ask(
                "POST",
                "/realtime/channels/room/subscribe",
                {"table": "messages"},
                mint("guest", sub=USER),
            )

    assert by_user[0] == 200
    assert by_guest[0] == 403


@pytest.mark.capability("GF-100", "GF-137", "GF-138")
async def test_without_streaming_there_are_no_subscriptions_and_everything_else_works(prepared):
    with trio.fail_after(60):
        async with node_of(prepared, enable_db_streaming=False) as node:
            http = Http(node.port)
            await http.by_admin("POST", "/realtime/channels", {"name": "room"})

            refused = await http.ask(
                "POST", "/realtime/channels/room/subscribe", {"table": "messages"}
            )
            accepted = await http.ask(
                "POST", "/realtime/channels/room/broadcast", {"event": "e"}
            )

    assert (refused[0], refused[1]["code"]) == (403, "FEATURE_DISABLED")
    assert accepted[0] == 200
