"""Stock clients exchange broadcasts."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.compat.client import KINDS, PHOENIX_JS, SUPABASE_JS_V2, who_can

# More than 125 and 65 535 bytes need the longer forms of a WebSocket frame's length; the text is not ASCII on purpose.
PAYLOADS = [
    {"x": 1},
    {"text": "Grüße 🎭" * 20},
    {"nested": {"list": [1, None, "a" * 70_000]}},
    {},
]
BYTES = bytes(range(256)) * 300


@pytest.mark.capability(
    "SB-196",
    "M5-030",
    "M5-040",
    "M5-052",
    "M5-065",
    "M5-068",
    "AG-011",
    "AG-040",
)
def test_text_reaches_every_kind_of_client(client, start_client, topic):
    receivers = [start_client(kind) for kind in KINDS]
    for one in (client, *receivers):
        one.join(topic)

    for payload in PAYLOADS:
        client.send(topic, "cursor", payload)

    for receiver in receivers:
        heard = [receiver.heard.expect("broadcast", topic=topic) for _ in PAYLOADS]
        assert [(one["name"], one["payload"]) for one in heard] == [
            ("cursor", payload) for payload in PAYLOADS
        ]


def test_bytes_reach_a_client_that_can_carry_them(start_client, topic):
    sender, receiver = start_client(SUPABASE_JS_V2), start_client(SUPABASE_JS_V2)
    receiver.join(topic)
    sender.join(topic)

    sender.send_binary(topic, "image", BYTES)

    heard = receiver.heard.expect("broadcast", topic=topic)
    assert (heard["name"], bytes.fromhex(heard["binary"])) == ("image", BYTES)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "binary" in kind.lacks], ids=str)
def test_bytes_are_left_out_for_a_client_that_cannot_carry_them(start_client, topic, kind):
    sender, receiver = start_client(SUPABASE_JS_V2), start_client(kind)
    receiver.join(topic)
    sender.join(topic)

    sender.send_binary(topic, "image", BYTES)
    sender.send(topic, "after", {})

    assert receiver.heard.expect("broadcast", topic=topic)["name"] == "after"


def test_a_sender_does_not_hear_itself(client, start_client, topic):
    other = start_client(SUPABASE_JS_V2)
    other.join(topic)
    client.join(topic)

    client.send(topic, "own", {})
    other.heard.expect("broadcast", topic=topic, name="own")
    other.send(topic, "end", {})

    client.heard.expect("broadcast", topic=topic, name="end")
    assert client.heard.passed_over("broadcast", topic=topic, name="own") == []


def test_a_sender_hears_itself_when_it_asked_for_that(client, topic):
    client.join(topic, echo=True)

    client.send(topic, "own", {"x": 1})

    assert client.heard.expect("broadcast", topic=topic, name="own")["payload"] == {"x": 1}


@pytest.mark.parametrize("kind", who_can("ack"), ids=str)
def test_a_broadcast_is_acknowledged_when_that_was_asked_for(start_client, topic, kind):
    client = start_client(kind)
    client.join(topic, ack=True)

    client.send(topic, "hello", {})

    # Without a reply the library answers "timed out" after ten seconds.
    assert client.heard.expect("sent", topic=topic)["answer"] == "ok"


def test_topics_do_not_hear_one_another(client, start_client, topic):
    other = start_client(SUPABASE_JS_V2)
    client.join(topic)
    other.join(topic)
    other.join(f"{topic}-elsewhere")

    other.send(f"{topic}-elsewhere", "private", {})
    other.send(topic, "end", {})

    client.heard.expect("broadcast", name="end")
    assert client.heard.passed_over("broadcast", name="private") == []


def test_phoenix_js_that_does_not_decline_binary_frames_is_ended_by_one(start_client, topic):
    """The evidence of ADR 0055: a release that reads on would make the parameter needless."""
    client = start_client(evolve(PHOENIX_JS, arguments=("true",)))
    client.join(topic)
    sender = start_client(SUPABASE_JS_V2)
    sender.join(topic)

    sender.send(topic, "cursor", {"x": 1})

    assert client.ended() != 0
    while "TypeError" not in client.complaints.expect("line")["text"]:
        pass
