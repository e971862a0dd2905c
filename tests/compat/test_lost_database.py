"""Stock clients on private channels while the real database goes away, or has no time: the cases of appendix A."""

from __future__ import annotations

import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.compat.client import SUPABASE_JS_V1, SUPABASE_JS_V2, running_client
from tests.support import postgres
from tests.support.server import running_server
from tests.support.tokens import mint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str),
]

ALICE = "00000000-0000-4000-8000-00000000000a"
AWAY = "Realtime was unable to connect to the project database"
CANCELLED = "canceling statement due to statement timeout"
EXHAUSTED = "Please increase your connection pool size"
#: Three are asked at a time, and nobody waits for longer than twice the time that each of them takes.
MANY = 15
POLICIES = [
    f'create policy "{prefix} {command}" on realtime.messages for {command} to authenticated'
    f" {clause} (realtime.topic() like '{prefix}:%' and {condition})"
    for prefix, condition in (("open", "true"), ("slow", "pg_sleep(60) is not null"))
    for command, clause in (("select", "using"), ("insert", "with check"))
] + [
    (
        'create policy "half read" on realtime.messages for select to authenticated'
        " using (realtime.topic() like 'half:%')"
    ),
    (
        'create policy "half write" on realtime.messages for insert to authenticated'
        " with check (realtime.topic() like 'half:%' and pg_sleep(60) is not null)"
    ),
]


@pytest.fixture(scope="module")
def database():
    with postgres.running_server() as database:
        yield database


@pytest.fixture(scope="module")
def mortal(database):
    """A server whose database may be taken away."""
    settings = {
        "REALTIME_DATABASE_URL": database.conninfo(),
        "REALTIME_POLICY_TIMEOUT_S": "0.5",
    }
    with (
        tempfile.TemporaryDirectory(prefix="troupe-") as directory,
        running_server(Path(directory), settings) as server,
    ):
        database.execute(*POLICIES)
        yield server


@pytest.fixture
def open_client(mortal, kind):
    with ExitStack() as stack:
        token = mint("authenticated", sub=ALICE)
        yield lambda: stack.enter_context(running_client(kind, mortal.url, token))


@pytest.fixture
def lost(database):
    """Take the database away; it is there again after the test, or when what is returned is called."""
    stopped = []

    def lose():
        database.stop(signal.SIGQUIT)
        stopped.append(True)
        return find

    def find():
        if stopped:
            stopped.clear()
            database.start()

    yield lose
    find()


def error_of(client, topic) -> str:
    return client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")["error"] or ""


def test_a_private_join_is_refused_while_the_database_is_away_and_later_succeeds(
    open_client, lost, topic
):
    client = open_client()
    client.join(topic)
    find = lost()

    client.subscribe(f"open:{topic}", private=True)
    assert AWAY in error_of(client, f"open:{topic}")
    client.send(topic, "public", {})
    find()

    # It comes back by itself.
    client.heard.expect("status", topic=f"open:{topic}", status="SUBSCRIBED")


def test_a_private_broadcast_is_dropped_while_the_database_is_away_and_public_ones_are_not(
    open_client, lost, topic
):
    private = f"open:{topic}"
    sender, receiver = open_client(), open_client()
    for client in (sender, receiver):
        client.join(private, private=True)
        client.join(topic)
    find = lost()

    sender.send(private, "lost", {})
    sender.send(topic, "public", {})
    receiver.heard.expect("broadcast", topic=topic, name="public")
    find()

    sender.send(private, "found", {})
    receiver.heard.expect("broadcast", topic=private, name="found")
    assert receiver.heard.passed_over("broadcast", name="lost") == []


def test_a_private_track_is_dropped_while_the_database_is_away_and_public_ones_are_not(
    open_client, lost, topic
):
    private = f"open:{topic}"
    tracker, watcher = open_client(), open_client()
    for name, client in (("tracker", tracker), ("watcher", watcher)):
        client.join(private, private=True, presence=name)
        client.join(topic, presence=name)
    find = lost()

    tracker.track(private, {"at": "lost"})
    tracker.track(topic, {"at": "public"})
    watcher.heard.expect("presence", topic=topic, kind="join", key="tracker")
    find()

    tracker.track(private, {"at": "found"})
    joined = watcher.heard.expect("presence", topic=private, kind="join", key="tracker")
    assert [state["at"] for state in joined["states"]] == ["found"]


def test_a_join_whose_policy_takes_too_long_is_told_so(open_client, topic):
    client = open_client()

    client.subscribe(f"slow:{topic}", private=True)

    assert CANCELLED in error_of(client, f"slow:{topic}")


def test_a_broadcast_whose_policy_takes_too_long_is_dropped(open_client, topic):
    sender, receiver = open_client(), open_client()
    for client in (sender, receiver):
        client.join(f"half:{topic}", private=True)
        client.join(topic)

    sender.send(f"half:{topic}", "late", {})
    sender.send(topic, "public", {})

    receiver.heard.expect("broadcast", topic=topic, name="public")
    assert receiver.heard.passed_over("broadcast", name="late") == []


def test_joins_for_which_no_connection_is_left_are_told_so(open_client, topic):
    client = open_client()
    topics = [f"slow:{topic}:{number}" for number in range(MANY)]
    for one in topics:
        client.subscribe(one, private=True)

    errors = [error_of(client, one) for one in topics]

    assert {CANCELLED in error or EXHAUSTED in error for error in errors} == {True}
    assert any(EXHAUSTED in error for error in errors)
    assert any(CANCELLED in error for error in errors)
