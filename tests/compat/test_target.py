"""The tests of the sblite plan, and those of the guide, can be run against a server that variables name."""

from __future__ import annotations

import json

import pytest
import trio

from tests.compat.target import DATABASE_URL, KEY, URL, WEBSOCKET_URL, named, own
from tests.support.websocket import open_websocket_at

ELSEWHERE = {URL: "https://abc.example/", KEY: "a key"}


@pytest.mark.capability("SB-150", "SB-151", "SB-152")
def test_three_variables_name_a_server_its_websocket_and_a_key():
    target = named(ELSEWHERE | {WEBSOCKET_URL: "ws://localhost:4000/socket/websocket"})

    assert target.url == "https://abc.example"
    assert target.key == "a key"
    assert target.websocket_url == "ws://localhost:4000/socket/websocket"


def test_the_websocket_is_where_supabase_has_it():
    assert named(ELSEWHERE).websocket_url == "wss://abc.example/realtime/v1/websocket"


def test_without_variables_no_other_server_is_meant():
    assert named({}) is None


def test_an_address_without_a_key_is_a_mistake():
    with pytest.raises(ValueError, match="TROUPE_TESTS_ANON_KEY"):
        named({URL: "https://abc.example"})


def test_without_its_database_tests_of_rows_are_skipped(monkeypatch):
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match=DATABASE_URL):
        named(ELSEWHERE).execute("select 1")


async def test_a_server_that_is_named_is_reached_like_our_own(server):
    ours = own(server)
    target = named({URL: ours.url, KEY: ours.key, DATABASE_URL: ours.database})
    target.execute("select 1")
    with trio.fail_after(20):
        async with open_websocket_at(f"{target.websocket_url}?apikey={target.key}") as client:
            beat = {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1"}
            await client.send(json.dumps(beat))

            assert json.loads(await client.receive())["payload"]["status"] == "ok"
