"""What a running node tells over HTTP about itself, in which shape, and to whom."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from actors.settings_loading import InvalidSetting, load
from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint
from tests.support.websocket import open_websocket

WITHIN_S = 20
METRICS_TOKEN = "a token for the scraper"
OPERATOR = {"authorization": f"Bearer {mint('service_role')}"}
OTHERS = [
    {},
    {"authorization": f"Bearer {mint()}"},
    {"authorization": f"Bearer {mint('authenticated')}"},
    {"authorization": f"Bearer {mint('service_role', expires_at=1)}"},
    {"authorization": f"Basic {mint('service_role')}"},
    {"apikey": mint("service_role")},
]
OPERATORS_ROUTES = ["/_/api/realtime/stats", "/admin/actors", "/metrics"]


@asynccontextmanager
async def node_of(**settings):
    """Run a node without a database; return it with an HTTP client."""
    with trio.fail_after(WITHIN_S):
        async with running_node(None, no_database=True, jwt_secret=SECRET, **settings) as node:
            url = f"http://127.0.0.1:{node.port}"
            async with httpx.AsyncClient(base_url=url, timeout=WITHIN_S) as http:
                yield node, http


@asynccontextmanager
async def member(node, *topics, **claims):
    """Connect a client that joins topics and tracks something in the first."""
    query = urlencode({"vsn": "2.0.0", "apikey": mint("authenticated", **claims)})
    async with open_websocket(node.port, f"/realtime/v1/websocket?{query}") as client:
        for number, topic in enumerate(topics):
            await client.send(json.dumps([str(number), str(number), topic, "phx_join", {}]))
        track = {"type": "presence", "event": "track", "payload": {"is": "here"}}
        await client.send(json.dumps(["0", "track", topics[0], "presence", track]))
        answered = 0
        while answered < len(topics) + 1:
            answered += json.loads(await client.receive())[3] == "phx_reply"
        yield client


@pytest.mark.parametrize("path", OPERATORS_ROUTES)
@pytest.mark.parametrize("headers", OTHERS)
async def test_what_is_for_operators_is_told_to_nobody_else(path, headers):
    async with node_of(metrics_token=METRICS_TOKEN) as (_, http):
        answer = await http.get(path, headers=headers)

        assert (answer.status_code, answer.content) == (403, b"")


@pytest.mark.capability("SB-048", "SB-123")
async def test_statistics_for_operators_have_the_shape_of_sblite():
    async with node_of() as (node, http):
        async with (
            member(node, "realtime:a", "realtime:b"),
            member(node, "realtime:a"),
        ):
            answer = await http.get("/_/api/realtime/stats", headers=OPERATOR)

        assert answer.json() == {
            "connections": 2,
            "channels": 2,
            "channel_details": [
                {"topic": "realtime:a", "subscribers": 2, "has_presence": True},
                {"topic": "realtime:b", "subscribers": 1, "has_presence": False},
            ],
        }


@pytest.mark.capability("SB-124")
async def test_while_nobody_is_served_there_are_no_statistics():
    async with node_of(suspend=True) as (_, http):
        answer = await http.get("/_/api/realtime/stats", headers=OPERATOR)

        assert answer.status_code == 503
        assert answer.json() == {"error": "realtime not enabled"}


@pytest.mark.capability("FB-051")
async def test_everybody_may_know_how_many_there_are():
    async with node_of() as (node, http):
        async with member(node, "realtime:a", "realtime:b"):
            answer = await http.get("/api/realtime/stats")

        assert answer.json() == {"connections": 1, "channels": 2}


@pytest.mark.parametrize(("headers", "status"), [({}, 401), (OTHERS[1], 200), (OPERATOR, 200)])
async def test_how_many_there_are_can_be_kept_from_strangers(headers, status):
    async with node_of(private_stats=True) as (_, http):
        answer = await http.get("/api/realtime/stats", headers=headers)

        assert answer.status_code == status


@pytest.mark.parametrize("token", [METRICS_TOKEN, mint("service_role")])
async def test_metrics_are_told_to_who_has_their_token_or_is_an_operator(token):
    async with node_of(metrics_token=METRICS_TOKEN) as (_, http):
        answer = await http.get("/metrics", headers={"authorization": f"Bearer {token}"})

        assert answer.status_code == 200
        assert b"realtime_connections_open 0.0" in answer.content


async def test_the_token_for_metrics_is_good_for_nothing_else():
    async with node_of(metrics_token=METRICS_TOKEN) as (_, http):
        headers = {"authorization": f"Bearer {METRICS_TOKEN}"}

        assert (await http.get("/admin/actors", headers=headers)).status_code == 403
        assert (await http.post("/_/api/ticket", headers=headers)).status_code == 403


def test_a_token_for_metrics_that_can_be_guessed_is_refused():
    with pytest.raises(InvalidSetting, match="--metrics-token must be a text of at least 16"):
        load(["--metrics-token", "15 characters.."], {})


@pytest.mark.capability("GF-086", "GF-098")
@pytest.mark.parametrize(("word", "status"), [("true", 200), ("false", 404)])
async def test_metrics_can_be_switched_off(word, status):
    settings = load([], {"REALTIME_ENABLE_METRICS": word})
    async with node_of(enable_metrics=settings.enable_metrics) as (_, http):
        assert (await http.get("/metrics", headers=OPERATOR)).status_code == status


@pytest.mark.capability("GF-121", "GF-122", "GF-123")
async def test_metrics_tell_of_connections_users_and_channels():
    async with node_of() as (node, http):
        async with (
            member(node, "realtime:a", "realtime:b", sub="one"),
            member(node, "realtime:a", sub="one"),
        ):
            text = (await http.get("/metrics", headers=OPERATOR)).text

        found = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert (
            found["realtime_connections_open"] == found["realtime_connections_connected"] == 2
        )
        assert found["realtime_users"] == 1
        assert found["realtime_channels"] == 2
        assert found["realtime_subscribers"] == 3
        assert found["realtime_channel_joins"] == 3


async def test_actors_are_listed_with_their_supervisor_and_how_often_they_were_restarted():
    async with node_of() as (node, http):
        async with member(node, "realtime:a"):
            crash = await http.post("/admin/actors/channel:public:a/crash", headers=OPERATOR)
            actors, found = [], []
            while not found:
                actors = (await http.get("/admin/actors", headers=OPERATOR)).json()
                found = [actor for actor in actors if actor["restarts"]]

        assert crash.status_code == 202
        assert [(one["supervisor"], one["name"], one["restarts"]) for one in found] == [
            ("channels", "channel:public:a", 1)
        ]
        assert {one["supervisor"] for one in actors} == {
            "root",
            "alarms",
            "channels",
            "keepers",
            "reading",
            "connections",
            "reports",
        }
