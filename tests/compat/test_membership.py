"""Stock clients join, leave and come back."""

from __future__ import annotations

import pytest

from tests.compat.client import KINDS, SUPABASE_JS_V2, running_client, who_can
from tests.support.server import running_server
from tests.support.tokens import mint


@pytest.mark.capability("AG-009")
def test_a_client_that_left_hears_nothing_more(client, start_client, topic):
    other = start_client(SUPABASE_JS_V2)
    client.join(topic)
    client.join(f"{topic}-kept")
    other.join(topic)
    other.join(f"{topic}-kept")

    client.unsubscribe(topic)
    client.heard.expect("status", topic=topic, status="CLOSED")
    other.send(topic, "late", {})
    other.send(f"{topic}-kept", "end", {})

    client.heard.expect("broadcast", name="end")
    assert client.heard.passed_over("broadcast", name="late") == []


@pytest.mark.parametrize("kind", who_can("come back at once"), ids=str)
def test_a_client_that_left_its_only_channel_can_come_back(start_client, topic, kind):
    client, other = start_client(kind), start_client(SUPABASE_JS_V2)
    other.join(topic)
    client.join(topic)
    client.remove(topic)
    assert client.heard.expect("removed", topic=topic)["answer"] == "ok"

    client.join(topic)
    other.send(topic, "again", {"x": 1})

    assert client.heard.expect("broadcast", topic=topic)["payload"] == {"x": 1}


def test_a_client_that_left_can_come_back(client, start_client, topic):
    other = start_client(SUPABASE_JS_V2)
    other.join(topic)
    for name in (f"{topic}-kept", f"{topic}-last", topic):
        client.join(name)
    client.remove(topic)
    assert client.heard.expect("removed", topic=topic)["answer"] == "ok"
    # realtime-py does not wait for the answer, and takes the close behind it for one of the channel joined next.
    client.unsubscribe(f"{topic}-last")
    client.heard.expect("status", topic=f"{topic}-last", status="CLOSED")

    client.join(topic)
    other.send(topic, "again", {"x": 1})

    assert client.heard.expect("broadcast", topic=topic)["payload"] == {"x": 1}


def test_removing_one_channel_leaves_the_others(client, start_client, topic):
    other = start_client(SUPABASE_JS_V2)
    client.join(topic)
    client.join(f"{topic}-kept")
    other.join(f"{topic}-kept")

    client.remove(topic)
    assert client.heard.expect("removed", topic=topic)["answer"] == "ok"
    other.send(f"{topic}-kept", "still here", {})

    client.heard.expect("broadcast", topic=f"{topic}-kept", name="still here")


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.capability("AG-043")
def test_clients_reconnect_and_rejoin_when_the_server_was_restarted(own_directory, topic, kind):
    with (
        running_server(own_directory / "data") as server,
        running_client(kind, server.url, mint()) as client,
        running_client(SUPABASE_JS_V2, server.url, mint()) as other,
    ):
        client.join(topic)
        other.join(topic)

        assert server.stop() == 0
        server.start()
        client.heard.expect("status", topic=topic, status="SUBSCRIBED")
        other.heard.expect("status", topic=topic, status="SUBSCRIBED")
        other.send(topic, "back again", {"x": 1})

        assert client.heard.expect("broadcast", topic=topic)["payload"] == {"x": 1}
