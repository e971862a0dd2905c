"""Stock clients hear only the rows that their filters let through."""

from __future__ import annotations

import pytest

MESSAGES = {"event": "INSERT", "schema": "public", "table": "messages"}


@pytest.fixture
def insert(server):
    """Return a function that writes rows: pairs of sender and body, each in a transaction of its own."""

    def insert(*rows):
        server.execute(
            *(f"insert into messages (sender, body) values ('{s}', '{b}')" for s, b in rows)
        )

    return insert


@pytest.mark.capability("M5-001", "M5-018", "M5-022", "M5-051", "M5-064", "M5-079", "AG-002")
@pytest.mark.parametrize(
    "condition",
    [
        "body=eq.{topic} wanted",
        "body=like.{topic} w%",
        "body=in.({topic} wanted,{topic} other)",
        'sender=eq.ann,body=eq."{topic} wanted"',
        "body=not.neq.{topic} wanted",
    ],
)
def test_a_filter_lets_through_what_it_says(client, topic, insert, condition):
    wanted = MESSAGES | {"filter": condition.format(topic=topic)}
    client.join(topic, changes=[wanted])

    insert(("ann", f"{topic} not"), ("ann", f"{topic} wanted"))

    change = client.heard.expect("change", topic=topic)
    assert change["new"]["body"] == f"{topic} wanted"


@pytest.mark.capability("M5-023")
def test_a_filter_of_a_delete_looks_at_the_key(client, server, topic, insert):
    insert(("ann", topic), ("bob", topic))
    ids = "(select {} (id) from messages where body = '" + topic + "')"
    client.join(topic, changes=[MESSAGES | {"event": "DELETE", "filter": "id=gt.0"}])

    server.execute(f"delete from messages where id = {ids.format('min')}")

    assert client.heard.expect("change", topic=topic)["old"].keys() == {"id"}


def test_two_filters_on_one_channel_are_apart(client, topic, insert):
    wanted = [MESSAGES | {"filter": f"sender=eq.{name}-{topic}"} for name in ("ann", "bob")]
    client.join(topic, changes=wanted)

    insert((f"eve-{topic}", "x"), (f"bob-{topic}", "y"), (f"ann-{topic}", "z"))

    heard = [client.heard.expect("change", topic=topic)["new"]["body"] for _ in range(2)]
    assert heard == ["y", "z"]


@pytest.mark.capability("SB-115")
def test_a_filter_that_cannot_be_served_is_told(client, topic):
    client.subscribe(topic, changes=[MESSAGES | {"filter": "sender=resembles.ann"}])

    if "system errors" in client.kind.lacks:
        client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")
    else:
        notice = client.heard.expect("system", topic=topic, status="error")
        assert notice["extension"] == "postgres_changes"
