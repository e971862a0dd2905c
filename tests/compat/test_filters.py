"""Stock clients subscribe with filters and selected columns, and are told what is refused."""

from __future__ import annotations

import uuid

import pytest

MESSAGES = {"event": "*", "schema": "public", "table": "messages"}


@pytest.fixture
def word():
    """A word that no row of another test has; its characters mean nothing in a filter."""
    return uuid.uuid4().hex


@pytest.fixture
def write(server, word):
    """Insert three rows, update one and delete two, each in a transaction of its own."""

    def write():
        server.execute(
            *(
                f"INSERT INTO public.messages (sender, body) VALUES ('{sender}', '{word} {text}')"
                for sender, text in (("ann", "one"), ("bob", "two"), ("ann", "a,b"))
            ),
            f"UPDATE public.messages SET sender = 'cat' WHERE body = '{word} two'",
            f"DELETE FROM public.messages WHERE body LIKE '{word} %' AND sender = 'ann'",
            f"INSERT INTO public.messages (sender, body) VALUES ('last', '{word}')",
        )

    return write


def heard(client, topic, word):
    """Return what the client heard on a topic, as kind and text, up to the last row of all."""
    found = []
    while True:
        change = client.heard.expect("change", topic=topic)
        body = change["new"].get("body", "")
        if change["new"].get("sender") == "last":
            return found
        found.append((change["type"], body.removeprefix(f"{word} ")))


@pytest.mark.capability(
    "SB-165", "M5-001", "M5-018", "M5-022", "M5-051", "M5-064", "M5-079", "AG-002"
)
def test_each_subscription_hears_what_its_filter_lets_through(client, topic, write, word):
    last = MESSAGES | {"filter": f"body=eq.{word}"}
    filters = {
        "eq": f'body=eq."{word} a,b"',
        "like": f"body=like.{word} %o%",
        "and": f"body=ilike.{word.upper()} %,sender=neq.ann",
        "in": f'body=in.("{word} one","{word} two"),sender=not.eq.cat',
        "match": f"body=match.^{word} .",
    }
    for name, text in filters.items():
        client.join(f"{topic}-{name}", changes=[MESSAGES | {"filter": text}, last])

    write()

    found = {name: heard(client, f"{topic}-{name}", word) for name in filters}
    everything = [("INSERT", "one"), ("INSERT", "two"), ("INSERT", "a,b"), ("UPDATE", "two")]
    assert found == {
        "eq": [("INSERT", "a,b")],
        "like": [("INSERT", "one"), ("INSERT", "two"), ("UPDATE", "two")],
        "and": [("INSERT", "two"), ("UPDATE", "two")],
        "in": [("INSERT", "one"), ("INSERT", "two")],
        "match": everything,
    }


@pytest.mark.capability("M5-023")
def test_a_filter_of_a_delete_looks_at_the_key(client, server, topic, word):
    server.execute(f"INSERT INTO public.messages (body) VALUES ('{word}'), ('{word}')")
    client.join(topic, changes=[MESSAGES | {"event": "DELETE", "filter": "id=gt.0"}])

    server.execute(f"DELETE FROM public.messages WHERE body = '{word}'")

    assert client.heard.expect("change", topic=topic)["old"].keys() == {"id"}


def test_selected_columns_come_with_the_key(client, topic, write, word):
    wanted = MESSAGES | {"filter": f"body=eq.{word}", "select": ["sender"]}
    client.join(topic, changes=[wanted])

    write()

    change = client.heard.expect("change", topic=topic)
    assert change["new"].keys() == {"id", "sender"}


@pytest.mark.capability("SB-115")
def test_a_subscription_that_is_refused_is_told_and_another_works(client, topic, write, word):
    client.subscribe(topic, changes=[MESSAGES | {"filter": "nothing=eq.1"}])
    if client.kind.name == "realtime-py":
        # It takes the notice for an error of the channel, says so, and joins again and again.
        refusal = client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")["error"]
    else:
        refusal = client.heard.expect("system", topic=topic, status="error")["message"]
    client.join(f"{topic}-good", changes=[MESSAGES | {"filter": f"body=eq.{word}"}])
    if client.kind.name == "realtime-py":
        # Not before the other is there: with its last channel it closes the socket.
        client.remove(topic)

    write()

    assert "invalid column for filter nothing" in refusal
    assert client.heard.expect("change", topic=f"{topic}-good")["new"]["body"] == word
