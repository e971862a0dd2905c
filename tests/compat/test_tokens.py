"""Stock clients exchange their tokens, and learn that one has expired, is no good, or grants less."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack

import pytest

from tests.compat.client import KINDS, SUPABASE_JS_V2, running_client
from tests.support.tokens import mint

#: Seconds for which a token is good that is to expire in front of our eyes: time to start a client and to join.
BRIEFLY = 4


@pytest.fixture
def start_with(server):
    """Start a client of a kind with a key of one's own."""
    with ExitStack() as stack:
        yield lambda kind, key: stack.enter_context(running_client(kind, server.url, key))


def brief_key() -> str:
    return mint(expires_at=int(time.time()) + BRIEFLY)  # noqa: TID251  # the server's clock


def told(client, topic) -> str:
    """Return why the channel was closed; it must have been, and not by an error of the socket."""
    if "system errors" in client.kind.lacks:
        error = client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")["error"]
        notice = json.loads(error)
    else:
        notice = client.heard.expect("system", topic=topic, extension="system", status="error")
    client.heard.expect("status", topic=topic, status="CLOSED")
    assert client.heard.passed_over("status", topic=topic, status="CHANNEL_ERROR") == []
    return notice["message"]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_channel_is_closed_when_its_token_expires(start_with, topic, kind):
    client = start_with(kind, brief_key())
    client.join(topic)

    assert re.fullmatch(r"Token has expired \d+ seconds ago", told(client, topic))


@pytest.mark.capability("SB-010")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_another_token_in_time_keeps_the_channel(start_with, topic, kind):
    key = brief_key()
    client, witness = start_with(kind, key), start_with(SUPABASE_JS_V2, key)
    client.join(topic)
    witness.join(topic)
    other = start_with(SUPABASE_JS_V2, mint())
    other.join(topic)

    client.set_auth(mint(sub="ann"))
    told(witness, topic)
    other.send(topic, "still here", {})

    client.heard.expect("broadcast", topic=topic, name="still here")
    assert client.heard.passed_over("status", topic=topic, status="CLOSED") == []


@pytest.mark.capability("SB-088")
def test_a_token_that_is_none_closes_the_channel(client, topic):
    # C23: the plan ignores a bad token.
    client.join(topic)

    client.set_auth("this.is.nonsense")

    assert told(client, topic) == "The token provided is not a valid JWT"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_token_that_grants_less_closes_a_private_channel(start_with, topic, kind):
    client = start_with(kind, mint("service_role"))
    client.join(topic, private=True)
    client.join(f"{topic}-public")

    client.set_auth(mint("anon", sub="somebody"))

    assert told(client, topic) == (
        f"You do not have permissions to read from this Channel topic: {topic}"
    )
    other = start_with(SUPABASE_JS_V2, mint())
    other.join(f"{topic}-public")
    other.send(f"{topic}-public", "hello", {})
    client.heard.expect("broadcast", topic=f"{topic}-public", name="hello")


def test_a_key_that_only_a_gateway_understands_changes_nothing(client, start_client, topic):
    other = start_client(SUPABASE_JS_V2)
    client.join(topic)
    other.join(topic)

    client.set_auth("sb_publishable_something")
    other.send(topic, "still here", {})

    client.heard.expect("broadcast", topic=topic, name="still here")
    assert client.heard.passed_over("status", topic=topic, status="CLOSED") == []
