"""The dashboard's page and its door: open to everybody the one, to operators alone the other."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
import pytest
import trio

from actors.realtime.ports import Identity
from actors.web.dashboard_site import FOLDER, TICKET_S, TICKETS, Tickets, read_files
from tests.support.running_node import running_node
from tests.support.server import PROJECT
from tests.support.tokens import SECRET, mint
from tests.support.websocket import Closed, open_websocket

WITHIN_S = 20
OPERATOR = Identity("service_role", b"{}", 1e12)
TOPIC = "realtime:_troupe:stats"
GUIDE = (PROJECT / "docs" / "howto" / "dashboard.md").read_text("utf-8")


@pytest.fixture
async def node():
    async with running_node(None, no_database=True, jwt_secret=SECRET) as node:
        yield node


@pytest.fixture
async def http(node):
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{node.port}", timeout=WITHIN_S
    ) as http:
        yield http


@asynccontextmanager
async def connect(node, **query):
    with trio.fail_after(WITHIN_S):
        async with open_websocket(node.port, f"/_/websocket?{urlencode(query)}") as client:
            yield client


async def ticket(http, role="service_role"):
    headers = {"authorization": f"Bearer {mint(role)}"}
    return await http.post("/_/api/ticket", headers=headers)


async def test_the_page_is_there_and_takes_nothing_from_elsewhere(http):
    page = await http.get("/_/")

    policy = page.headers["content-security-policy"].split("; ")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.capability("SB-177")
def test_the_guide_names_every_section_of_the_dashboard():
    script = (FOLDER / "dashboard.js").read_text("utf-8")
    sections = re.findall(r'new Table\(\s*find\("\w+"\),\s*"([^"]+)"', script)

    assert len(sections) == 5
    assert re.findall(r"^\| ([A-Z][\w ]+) \|", GUIDE, re.MULTILINE) == ["Totals", *sections]


@pytest.mark.capability("SB-177")
async def test_every_address_of_the_guide_tells_an_operator_something(http):
    paths = set(re.findall(r"`(?:GET )?(/[\w/]+)`", GUIDE))

    assert {"/_/", "/metrics", "/api/realtime/stats", "/_/api/realtime/stats"} == paths
    for path in paths:
        answer = await http.get(
            path, headers={"authorization": f"Bearer {mint('service_role')}"}
        )
        assert (path, answer.status_code) == (path, 200)


async def test_every_file_is_served_with_its_type_and_nothing_else_is(http):
    for name in read_files():
        answer = await http.get(f"/_/{name}")
        assert answer.status_code == 200
        assert answer.content == (FOLDER / name).read_bytes()

    for path in ("/_/secret.html", "/_/..%2Fapp.py", "/_/%2e%2e/app.py"):
        assert (await http.get(path)).status_code == 404
    assert (await http.get("/_")).headers["location"] == "/_/"


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_file_names_no_other_site_and_makes_no_markup_of_values(path):
    text = path.read_text("utf-8")

    for word in (
        "http://",
        "https://",
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "eval(",
    ):
        assert word not in text
    for word in ("<script>", "style=", "onclick="):
        assert path.suffix != ".html" or word not in text


async def test_a_ticket_opens_the_websocket_once(node, http):
    given = (await ticket(http)).json()["ticket"]
    async with connect(node, ticket=given) as client:
        join = ["1", "1", TOPIC, "phx_join", {"config": {"private": True}}]
        await client.send(json.dumps(join))
        reply = json.loads(await client.receive())
        report = json.loads(await client.receive())

        assert reply[4]["status"] == "ok"
        assert report[4]["event"] == "report"
        assert report[4]["payload"]["totals"]["connections"] == 1
        with pytest.raises(Closed) as refused:
            async with connect(node, ticket=given):
                pass
        assert refused.value.code == 403


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_who_is_no_operator_gets_no_ticket(http, role):
    assert (await ticket(http, role)).status_code == 403


async def test_a_ticket_is_not_to_be_kept_on_the_way(http):
    assert (await ticket(http)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("query", [{}, {"ticket": "x"}, {"apikey": mint("service_role")}])
async def test_without_a_ticket_the_door_is_closed(node, query):
    with pytest.raises(Closed) as refused:
        async with connect(node, **query):
            pass

    assert refused.value.code == 403


async def test_a_ticket_without_a_handshake_is_lost(http):
    given = (await ticket(http)).json()["ticket"]

    assert (await http.get("/_/websocket", params={"ticket": given})).status_code == 400
    assert (await http.get("/_/websocket", params={"ticket": given})).status_code == 403


async def test_a_ticket_is_good_for_a_while(autojump_clock):
    tickets = Tickets()
    first, second = tickets.give(OPERATOR), tickets.give(OPERATOR)

    await trio.sleep(TICKET_S - 1)
    assert tickets.take(first) is OPERATOR
    await trio.sleep(1)
    assert tickets.take(second) is None


async def test_of_too_many_tickets_the_oldest_is_void(autojump_clock):
    tickets = Tickets()
    first, *others = [tickets.give(OPERATOR) for _ in range(TICKETS + 1)]

    assert tickets.take(first) is None
    assert all(tickets.take(one) is OPERATOR for one in others)
