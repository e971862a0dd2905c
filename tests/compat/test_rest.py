"""Stock clients broadcast over HTTP: those of every kind hear it, and what is refused is told in the library's way."""

from __future__ import annotations

import http.client
import itertools
import re
import shlex

import pytest

from tests.compat.client import (
    KINDS,
    REALTIME_PY,
    SUPABASE_JS_V1,
    SUPABASE_JS_V2,
    running_client,
    who_can,
)
from tests.support.server import PROJECT
from tests.support.tokens import mint

BYTES = bytes(range(256))
AWKWARD = "a/b c+d%2F:é🎭?#"


@pytest.mark.parametrize("from_kind", who_can("post"), ids=str)
def test_what_is_posted_reaches_every_kind_of_client(start_client, topic, from_kind):
    sender = start_client(from_kind)
    receivers = [start_client(kind) for kind in KINDS]
    for receiver in receivers:
        receiver.join(topic)

    assert sender.post(topic, "cursor", {"x": 1.5, "text": "Grüße 🎭"}) is None

    for receiver in receivers:
        heard = receiver.heard.expect("broadcast", topic=topic)
        assert (heard["name"], heard["payload"]) == ("cursor", {"x": 1.5, "text": "Grüße 🎭"})


@pytest.mark.parametrize("from_kind", who_can("post one"), ids=str)
def test_bytes_that_are_posted_reach_who_can_carry_them(start_client, topic, from_kind):
    sender = start_client(from_kind)
    receiver, without = start_client(SUPABASE_JS_V2), start_client(SUPABASE_JS_V1)
    receiver.join(topic)
    without.join(topic)

    assert sender.post(topic, "image", binary=BYTES) is None
    assert sender.post(topic, "after", {}) is None

    assert bytes.fromhex(receiver.heard.expect("broadcast", topic=topic)["binary"]) == BYTES
    assert without.heard.expect("broadcast", topic=topic)["name"] == "after"


@pytest.mark.parametrize("from_kind", who_can("post"), ids=str)
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


@pytest.mark.capability("AG-012")
@pytest.mark.parametrize("kind", who_can("send before subscribe"), ids=str)
def test_a_channel_that_is_not_subscribed_sends_all_the_same(start_client, topic, kind):
    sender = start_client(kind)
    receivers = [start_client(to_kind) for to_kind in KINDS]
    for receiver in receivers:
        receiver.join(topic)

    sender.send(topic, "early", {"x": 1})

    assert sender.heard.expect("sent", topic=topic)["answer"] == "ok"
    for receiver in receivers:
        assert receiver.heard.expect("broadcast", topic=topic)["payload"] == {"x": 1}


@pytest.mark.parametrize("kind", who_can("post one"), ids=str)
def test_a_refusal_is_told_with_its_reason(server, start_client, topic, kind):
    sender = start_client(kind)
    with running_client(
        kind, server.url, mint(secret="a secret that nobody knows but this test")
    ) as stranger:
        assert stranger.post(topic, "e", {}) == "Unauthorized"
    assert sender.post(topic, "e", {}, private=True) == "Unauthorized"
    assert sender.post(topic, " ", {}) in ("Unprocessable Entity", "Unprocessable Content")


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_asking_in_vain_to_store_a_broadcast_is_refused_and_not_ignored(
    start_client, topic, kind
):
    sender = start_client(kind)

    # Of a public channel the library refuses it by itself.
    error = sender.post(topic, "e", {}, private=True, persist=True)

    assert error == "Unauthorized"


def request_of(command: str) -> tuple[str, dict[str, str], str]:
    """Return path, headers and body of a call of curl."""
    words = shlex.split(command.replace("\\\n", " "))
    pairs = list(itertools.pairwise(words))
    address = next(word for word in words if word.startswith("http://localhost:8080/"))
    headers = dict(value.split(": ", 1) for flag, value in pairs if flag == "-H")
    body = next(value for flag, value in pairs if flag == "-d")
    return address.removeprefix("http://localhost:8080"), headers, body


def test_the_commands_of_the_reference_do_what_they_show(server, start_client):
    page = (PROJECT / "docs" / "reference" / "broadcast-over-http.md").read_text("utf-8")
    commands = re.findall(r"```sh\n(curl.*?)```", page, re.DOTALL)
    receiver = start_client(REALTIME_PY)
    receiver.join("room")

    for command in commands:
        path, headers, body = request_of(command.replace("$ANON_KEY", mint()))
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", path, body, headers)
        assert connection.getresponse().status == 202
        connection.close()
        assert receiver.heard.expect("broadcast", topic="room")["payload"] == {"x": 1}
    assert len(commands) == 2
