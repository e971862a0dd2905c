"""Actors crash under stock clients: within the limits nobody notices, beyond them clients come back by themselves."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.compat.client import SUPABASE_JS_V2
from tests.support.operator import Operator

MESSAGES = {"event": "INSERT", "schema": "public", "table": "messages"}


@pytest.fixture
def operator(server):
    return Operator(server.url)


def test_a_client_does_not_notice_that_channel_and_rows_actor_crashed(
    server, operator, client, start_client, topic
):
    other = start_client(SUPABASE_JS_V2)
    client.join(topic, changes=[MESSAGES])
    other.join(topic)

    operator.crash(f"channel:public:{topic}")
    operator.crash(f"rows:public:{topic}")
    other.send(topic, "after", {"x": 1})
    server.execute(f"insert into messages (sender, body) values ('{topic}', 'after')")

    client.heard.expect("broadcast", topic=topic, name="after")
    client.heard.expect("change", topic=topic)
    assert client.heard.passed_over("status", status="CHANNEL_ERROR") == []


def test_beyond_the_limit_a_client_sees_an_error_and_rejoins_by_itself(
    operator, client, start_client, topic
):
    client.join(topic)
    for _ in range(6):
        operator.crash(f"channel:public:{topic}")

    client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")
    client.heard.expect("status", topic=topic, status="SUBSCRIBED")

    other = start_client(SUPABASE_JS_V2)
    other.join(topic)
    other.send(topic, "back", {"x": 1})
    client.heard.expect("broadcast", topic=topic, name="back")


@pytest.mark.parametrize("path", ["/metrics", "/admin/actors"])
def test_nobody_but_an_operator_may_look(server, path):
    with pytest.raises(HTTPError) as caught:
        urlopen(server.url + path, timeout=10)

    assert caught.value.code == 403
    caught.value.close()


def test_what_happens_is_counted(operator, client, topic):
    client.join(topic)

    assert "realtime_connections_opened_total" in operator.metrics()
    assert f"channel:public:{topic}" in operator.actors()
