"""Stock clients broadcast over HTTP: those of every kind hear it, and what is refused is told in the library's way."""

from __future__ import annotations

import itertools

import pytest

from tests.compat.client import (
    KINDS,
    REALTIME_PY,
    SUPABASE_JS_V1,
    SUPABASE_JS_V2,
    running_client,
)
from tests.support.tokens import mint

BYTES = bytes(range(256))
AWKWARD = "a/b c+d%2F:é🎭?#"


@pytest.mark.parametrize(("from_kind", "to_kind"), [*itertools.product(KINDS, KINDS)], ids=str)
def test_what_is_posted_reaches_every_kind_of_client(start_client, topic, from_kind, to_kind):
    sender, receiver = start_client(from_kind), start_client(to_kind)
    receiver.join(topic)

    assert sender.post(topic, "cursor", {"x": 1.5, "text": "Grüße 🎭"}) is None

    heard = receiver.heard.expect("broadcast", topic=topic)
    assert (heard["name"], heard["payload"]) == ("cursor", {"x": 1.5, "text": "Grüße 🎭"})


@pytest.mark.parametrize("from_kind", KINDS, ids=str)
def test_bytes_that_are_posted_reach_who_can_carry_them(start_client, topic, from_kind):
    sender = start_client(from_kind)
    receiver, without = start_client(SUPABASE_JS_V2), start_client(SUPABASE_JS_V1)
    receiver.join(topic)
    without.join(topic)

    assert sender.post(topic, "image", binary=BYTES) is None
    assert sender.post(topic, "after", {}) is None

    assert bytes.fromhex(receiver.heard.expect("broadcast", topic=topic)["binary"]) == BYTES
    assert without.heard.expect("broadcast", topic=topic)["name"] == "after"


@pytest.mark.parametrize("from_kind", KINDS, ids=str)
def test_awkward_names_arrive_as_they_are(start_client, topic, from_kind):
    sender, receiver = start_client(from_kind), start_client(SUPABASE_JS_V2)
    receiver.join(topic + AWKWARD)

    assert sender.post(topic + AWKWARD, AWKWARD, {}) is None

    assert receiver.heard.expect("broadcast", topic=topic + AWKWARD)["name"] == AWKWARD


@pytest.mark.parametrize("payload", [[1, 2], "text", 7])
def test_what_is_no_object_arrives_in_one(start_client, topic, payload):
    sender, receiver = start_client(REALTIME_PY), start_client(REALTIME_PY)
    receiver.join(topic)

    assert sender.post(topic, "list", payload) is None

    assert receiver.heard.expect("broadcast", topic=topic)["payload"] == {"_json": payload}


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
@pytest.mark.parametrize("to_kind", KINDS, ids=str)
def test_a_channel_that_is_not_subscribed_sends_all_the_same(
    start_client, topic, kind, to_kind
):
    sender, receiver = start_client(kind), start_client(to_kind)
    receiver.join(topic)

    sender.send(topic, "early", {"x": 1})

    assert sender.heard.expect("sent", topic=topic)["answer"] == "ok"
    assert receiver.heard.expect("broadcast", topic=topic)["payload"] == {"x": 1}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_refusal_is_told_with_its_reason(server, start_client, topic, kind):
    sender = start_client(kind)
    with running_client(
        kind, server.url, mint(secret="a secret that nobody knows but this test")
    ) as stranger:
        assert stranger.post(topic, "e", {}) == "Unauthorized"
    assert sender.post(topic, "e", {}, private=True) == "Unauthorized"
    assert sender.post(topic, " ", {}) in ("Unprocessable Entity", "Unprocessable Content")


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_asking_to_store_a_broadcast_is_refused_and_not_ignored(start_client, topic, kind):
    sender = start_client(kind)

    error = sender.post(topic, "e", {}, private=True, persist=True)

    assert error == "This server does not store broadcasts: send without persist"
