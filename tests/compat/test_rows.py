"""Stock clients hear what other programs write to the database."""

from __future__ import annotations

import re
import uuid

import pytest

MESSAGES = {"event": "*", "schema": "public", "table": "messages"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def body():
    """A text that no row of another test has."""
    return f"it's row {uuid.uuid4()}"


@pytest.fixture
def write(server, body):
    """Insert, update and delete one row of the demo table, each in a transaction of its own."""
    quoted = body.replace("'", "''")

    def write():
        server.execute(
            f"INSERT INTO public.messages (sender, body) VALUES ('ann', '{quoted}')",
            f"UPDATE public.messages SET sender = 'bob' WHERE body = '{quoted}'",
            f"DELETE FROM public.messages WHERE body = '{quoted}'",
        )

    return write


@pytest.mark.capability(
    "SB-195", "M5-060", "M5-062", "M5-041", "AG-005", "AG-006", "AG-007", "AG-004", "M5-026"
)
def test_insert_update_and_delete_arrive_in_order_with_their_rows(client, topic, write, body):
    client.join(topic, changes=[MESSAGES])

    write()

    insert, update, delete = (client.heard.expect("change", topic=topic) for _ in range(3))
    assert (insert["type"], update["type"], delete["type"]) == ("INSERT", "UPDATE", "DELETE")
    assert {change["schema"] for change in (insert, update, delete)} == {"public"}
    assert {change["table"] for change in (insert, update, delete)} == {"messages"}
    assert (insert["new"]["sender"], insert["new"]["body"]) == ("ann", body)
    assert insert["new"].keys() == {"id", "sender", "body", "created_at"}
    assert insert["old"] == {}
    assert update["new"] == insert["new"] | {"sender": "bob"}
    # The replica identity is the primary key: of the old row nothing else is logged.
    assert update["old"] == delete["old"] == {"id": insert["new"]["id"]}
    assert delete["new"] == {}


def test_a_change_says_when_it_was_committed_and_that_nothing_went_wrong(client, topic, write):
    client.join(topic, changes=[MESSAGES])

    write()

    change = client.heard.expect("change", topic=topic)
    assert TIMESTAMP.fullmatch(change["committed_at"])
    assert not change["errors"]


@pytest.mark.parametrize("kind_of_change", ["INSERT", "UPDATE", "DELETE"])
@pytest.mark.capability("SB-190", "M5-020", "M5-050", "M5-063", "AG-003")
def test_a_client_hears_only_the_kind_of_change_it_asked_for(
    client, topic, write, kind_of_change
):
    client.join(topic, changes=[MESSAGES | {"event": kind_of_change}])

    write()
    write()

    # The second round proves that nothing else of the first is still on its way.
    heard = [client.heard.expect("change", topic=topic)["type"] for _ in range(2)]
    assert heard == [kind_of_change, kind_of_change]


def test_rows_and_broadcasts_share_a_topic(client, topic, write):
    client.join(topic, changes=[MESSAGES], echo=True)

    client.send(topic, "hello", {})
    write()

    client.heard.expect("broadcast", topic=topic, name="hello")
    client.heard.expect("change", topic=topic, type="DELETE")


def test_a_client_that_left_hears_no_more_rows(client, topic, write):
    client.join(topic, changes=[MESSAGES])
    client.join(f"{topic}-kept", changes=[MESSAGES])

    client.remove(topic)
    client.heard.expect("removed", topic=topic)
    write()

    client.heard.expect("change", topic=f"{topic}-kept", type="DELETE")
    assert client.heard.passed_over("change", topic=topic) == []
