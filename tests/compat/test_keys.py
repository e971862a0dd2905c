"""What a client hears at the door."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.compat.client import (
    JS,
    KINDS,
    SUPABASE_JS_V1,
    SUPABASE_JS_V2,
    node_command,
    running_client,
)
from tests.support.tokens import mint

PAST = 1_000_000_000


def handshake(address):
    finished = subprocess.run(
        [*node_command("handshake.mjs"), address],
        cwd=JS,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return json.loads(finished.stdout)


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@pytest.mark.capability("SB-105", "M5-002", "M5-059")
def test_a_good_key_enters(server, vsn):
    assert handshake(f"{server.websocket_url}?apikey={mint()}&vsn={vsn}") == {"status": 101}


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("vsn=2.0.0", "API key is missing"),
        ("vsn=2.0.0&apikey=nonsense", "The token provided is not a valid JWT"),
        (f"apikey={mint(expires_at=PAST)}", "Token has expired"),
        (f"apikey={mint(secret='x' * 40)}", "Failed to validate JWT signature"),
    ],
    ids=["missing", "malformed", "expired", "forged"],
)
def test_a_bad_key_is_refused_with_the_reason(server, query, error):
    answer = handshake(f"{server.websocket_url}?{query}")

    assert answer["status"] == 401
    assert json.loads(answer["body"]) == {"error": error}
    assert answer["type"] == "application/json; charset=utf-8"


def test_an_unknown_protocol_version_is_refused_without_a_word(server):
    answer = handshake(f"{server.websocket_url}?apikey={mint()}&vsn=3.0.0")

    assert (answer["status"], answer["body"]) == (403, "")


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_supabase_js_reports_a_bad_key_as_a_channel_error(server, topic, kind):
    with running_client(kind, server.url, mint(secret="x" * 40)) as client:
        client.subscribe(topic)

        client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_refused_client_does_not_disturb_the_others(server, start_client, topic, kind):
    good = start_client(kind)
    with running_client(SUPABASE_JS_V2, server.url, mint(secret="x" * 40)) as refused:
        refused.subscribe(topic)
        refused.heard.expect("status", topic=topic, status="CHANNEL_ERROR")

        good.join(topic, echo=True)
        good.send(topic, "hello", {})

        good.heard.expect("broadcast", topic=topic, name="hello")
