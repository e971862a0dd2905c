"""Clients of three dialects on one topic and one table: what they hear of each other, and what nobody is told."""

from __future__ import annotations

import json
from contextlib import ExitStack

import httpx
import pytest
import trio

from tests.compat.client import SUPABASE_JS_V1, SUPABASE_JS_V2, running_client
from tests.support.fluxbase import open_fluxbase
from tests.support.goforward import open_channel, user_token
from tests.support.row_security import ALICE, BOB
from tests.support.tokens import mint
from tests.support.websocket import Closed

WITHIN_S = 60
BOTH = (SUPABASE_JS_V1, SUPABASE_JS_V2)
CAROL = "00000000-0000-0000-0000-00000000000c"
OWN = "(owner = (current_setting('request.jwt.claims', true)::json ->> 'sub')::uuid)"
POLICY = "one room"


@pytest.fixture(autouse=True)
async def patience():
    with trio.fail_after(WITHIN_S):
        yield


@pytest.fixture
def room(topic):
    return f"one-{topic}"


@pytest.fixture
def supabase(server):
    """Start a supabase-js with the token of a user."""
    with ExitStack() as stack:
        yield lambda kind, token: stack.enter_context(running_client(kind, server.url, token))


@pytest.fixture
def tables(server, numbers):
    """A table whose rows belong to users, and one for everybody."""
    number = next(numbers)
    owned, shared = f"one_owned_{number}", f"one_shared_{number}"
    server.execute(
        f"create table {owned} (id int primary key, owner uuid, body text)",
        f"alter table {owned} replica identity full",
        f"alter table {owned} enable row level security",
        f"create policy own on {owned} for select to authenticated using {OWN}",
        f"create table {shared} (id int primary key)",
        f"grant select on {owned}, {shared} to anon, authenticated",
        f"alter publication supabase_realtime add table {owned}, {shared}",
    )
    yield owned, shared
    server.execute(f"drop table {owned}, {shared}")


@pytest.fixture
def private_policies(server):
    """Let every user into the private topics of this module, to read and to write."""
    for command, clause in (("select", "using"), ("insert", "with check")):
        server.execute(
            f'create policy "{POLICY} {command}" on realtime.messages for {command}'
            f" to authenticated {clause} (realtime.topic() like 'one-%')"
        )
    yield
    for command in ("select", "insert"):
        server.execute(f'drop policy "{POLICY} {command}" on realtime.messages')


async def request(server, method, path, token, body=None):
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        return await client.request(method, path, json=body)


async def managed(server, room, **config):
    """Create the room as a channel of GoForward."""
    service = mint("service_role")
    body = {"name": room, **config}
    answer = await request(server, "POST", "/realtime/channels", service, body)
    assert answer.status_code == 201, answer.text


async def goforward_heard(client, marker: str):
    """Return event and payload of the messages before and with the one of that event."""
    heard = []
    while not heard or heard[-1][0] != marker:
        message = await client.receive()
        if message["type"] == "message":
            heard.append((message["event"], message["payload"]))
    return heard


async def fluxbase_heard(client, marker: str):
    """Return event and payload of the broadcasts before and with the one of that event."""
    heard = []
    while not heard or heard[-1][0] != marker:
        message = await client.next()
        assert message["type"] == "broadcast", message
        said = message["payload"]["broadcast"]
        heard.append((said["event"], said["payload"]))
    return heard


def supabase_heard(client, room, marker: str):
    """Return event and payload of the broadcasts before and with the one of that event."""
    heard = []
    while not heard or heard[-1][0] != marker:
        report = client.heard.expect("broadcast", topic=room)
        heard.append((report["name"], report.get("payload", report.get("binary"))))
    return heard


async def goforward_presence(client):
    """Return what happened to whom, and the state, of the next message about presence."""
    while True:
        message = await client.receive()
        if message["type"] == "presence":
            assert message["user_id"] == message["payload"]["user_id"]
            payload = message["payload"]
            payload["state"].pop("last_seen", None)
            return message["event"], payload["user_id"], payload["state"]


async def fluxbase_presence(client):
    """Return what happened to whom, and who is there, of the next message about presence."""
    while True:
        message = await client.receive()
        if message["type"] == "presence":
            told = message["payload"]["presence"]
            assert told["event"] == "sync" or told.keys() & {"newPresences", "leftPresences"}
            return told["event"], told.get("key", ""), told["currentPresences"]


def supabase_shows(client, room, state):
    """Wait until a client presents just this."""
    while client.heard.expect("presence", topic=room, kind="sync")["state"] != state:
        pass


async def test_a_broadcast_of_any_dialect_is_heard_in_all(server, room, supabase):
    old, new = (supabase(kind, mint()) for kind in BOTH)
    for client in (old, new):
        client.join(room, echo=True)
    async with (
        open_channel(server.port, room, BOB) as goforward,
        open_fluxbase(server.port) as fluxbase,
    ):
        await fluxbase.subscribed(room)
        text = {"text": "Grüße 🎭", "n": [1, None, {"deep": 1e3}]}
        said = [(name, {**text, "by": name}) for name in ("old", "new", "goforward", "flux")]

        async def everybody_heard(one) -> None:
            event = one[0]
            assert supabase_heard(old, room, event) == [one]
            assert supabase_heard(new, room, event) == [one]
            assert await goforward_heard(goforward, event) == [one]
            assert await fluxbase_heard(fluxbase, event) == [one]

        old.send(room, *said[0])
        await everybody_heard(said[0])
        new.send(room, *said[1])
        await everybody_heard(said[1])
        await goforward.send("broadcast", "goforward", **said[2][1])
        await everybody_heard(said[2])
        await fluxbase.say("broadcast", room, event="flux", payload=said[3][1])
        await everybody_heard(said[3])


async def test_bytes_are_heard_where_they_have_a_place(server, room, supabase):
    old, new, sender = (supabase(kind, mint()) for kind in (*BOTH, SUPABASE_JS_V2))
    for client in (old, new, sender):
        client.join(room)
    async with (
        open_channel(server.port, room, BOB) as goforward,
        open_fluxbase(server.port) as fluxbase,
    ):
        await fluxbase.subscribed(room)
        sender.send_binary(room, "image", bytes(range(256)))
        sender.send(room, "after", {})

        after = ("after", {})
        image = ("image", bytes(range(256)).hex())
        assert supabase_heard(new, room, "after") == [image, after]
        assert supabase_heard(old, room, "after") == [after]
        assert await goforward_heard(goforward, "after") == [after]
        assert await fluxbase_heard(fluxbase, "after") == [after]


async def test_a_user_of_several_dialects_is_one_who_comes_once_and_goes_once(
    server, room, supabase
):
    old, new, hers = (supabase(kind, mint()) for kind in (*BOTH, SUPABASE_JS_V2))
    for client in (old, new):
        client.join(room, presence="watching")
    async with (
        open_channel(server.port, room, BOB) as goforward,
        open_fluxbase(server.port) as fluxbase,
        open_fluxbase(server.port, user_token(ALICE)) as her_fluxbase,
    ):
        bob = {BOB: [{}]}
        for client in (old, new):
            supabase_shows(client, room, bob)
        assert await goforward_presence(goforward) == ("join", BOB, {})
        await fluxbase.subscribed(room)
        assert await fluxbase_presence(fluxbase) == ("sync", "", bob)

        async def told(goforward_event, fluxbase_event, state, *states) -> None:
            """Expect that everybody hears what happened to Alice, who then has these states."""
            present = {**bob, **({ALICE: list(states)} if states else {})}
            for client in (old, new):
                supabase_shows(client, room, present)
            if goforward_event:
                expected = (goforward_event, ALICE, state)
                assert await goforward_presence(goforward) == expected
            event, key, everybody = await fluxbase_presence(fluxbase)
            assert (event, key) == (fluxbase_event, "" if fluxbase_event == "sync" else ALICE)
            assert everybody == present

        async with open_channel(server.port, room, ALICE):
            await told("join", "join", {}, {})
            track = {"event": "track", "state": {"in": "fluxbase"}}
            await her_fluxbase.say("presence", room, payload=track)
            await told("update", "sync", {"in": "fluxbase"}, {}, {"in": "fluxbase"})
            hers.join(room, presence=ALICE)
            hers.track(room, {"in": "supabase"})
            states = {"in": "fluxbase"}, {"in": "supabase"}
            await told("update", "sync", {"in": "supabase"}, {}, *states)
        await told(None, "sync", {}, *states)
        await her_fluxbase.say("presence", room, payload={**track, "state": {"in": "late"}})
        await told("update", "sync", {"in": "late"}, states[1], {"in": "late"})
        hers.untrack(room)
        await told(None, "sync", {}, {"in": "late"})
        await her_fluxbase.say("presence", room, payload={"event": "untrack"})
        await told("leave", "leave", {"in": "late"})


async def test_everybody_hears_of_own_rows_in_the_shape_of_its_dialect(
    server, room, supabase, tables
):
    owned, shared = tables
    entry = {"event": "*", "schema": "public", "table": owned}
    new, old = (
        supabase(SUPABASE_JS_V2, user_token(ALICE)),
        supabase(SUPABASE_JS_V1, user_token(BOB)),
    )
    nobody = supabase(SUPABASE_JS_V2, mint())
    for client in (new, old):
        client.join(room, changes=[entry])
    nobody.join(room, changes=[entry, {**entry, "table": shared}])
    async with (
        open_channel(server.port, room, BOB) as goforward,
        open_fluxbase(server.port, user_token(ALICE)) as fluxbase,
        open_fluxbase(server.port) as anonymous,
    ):
        path = f"/realtime/channels/{room}/subscribe"
        for table in tables:
            wish = {"table": table, "events": ["INSERT", "UPDATE", "DELETE"]}
            # Carol sees no row of it, and Bob is told of his through what she asked for.
            answer = await request(server, "POST", path, user_token(CAROL), wish)
            assert answer.status_code == 200, answer.text
        await fluxbase.subscribed(f"table:public.{owned}")
        await fluxbase.subscribed("by config", config={"table": owned})
        for table in tables:
            await anonymous.subscribed(f"table:public.{table}")
        await goforward_follows(server, goforward, shared)

        server.execute(
            f"insert into {owned} values (1, '{ALICE}', 'a'), (2, '{BOB}', 'b'), (3, null, 'c')"
        )
        hers = {"id": 1, "owner": ALICE, "body": "a"}
        his = {"id": 2, "owner": BOB, "body": "b"}
        insert = new.heard.expect("change", topic=room)
        assert (insert["type"], insert["new"], insert["old"]) == ("INSERT", hers, {})
        insert = old.heard.expect("change", topic=room)
        assert (insert["type"], insert["new"], insert["old"]) == ("INSERT", his, {})
        change = await changed(goforward, owned)
        assert (change["event"], change["new_record"]) == ("INSERT", his)
        by_name, by_config = await both_shapes(fluxbase)
        named = {"table": owned, "schema": "public"}
        assert by_name == {"type": "INSERT", **named, "record": hers}
        assert (by_config["eventType"], by_config["new"], by_config["old"]) == (
            "INSERT",
            hers,
            {},
        )

        server.execute(f"update {owned} set body = 'z'")
        hers, his = {**hers, "body": "z"}, {**his, "body": "z"}
        assert new.heard.expect("change", topic=room)["new"] == hers
        assert old.heard.expect("change", topic=room)["new"] == his
        assert (await changed(goforward, owned))["new_record"] == his
        by_name, by_config = await both_shapes(fluxbase)
        assert (by_name["record"], by_config["new"]) == (hers, hers)
        server.execute(f"delete from {owned} where id = 1")
        # Nobody could say any more whose the row was: everybody hears of it, and of the key alone.
        key = {"id": 1}
        assert [one.heard.expect("change", topic=room)["old"] for one in (new, old)] == [
            key
        ] * 2
        assert (await changed(goforward, owned))["old_record"] == key
        by_name, by_config = await both_shapes(fluxbase)
        assert (by_name["old_record"], by_config["old"]) == (key, key)

        server.execute(f"insert into {shared} values (999)")
        last = {"id": 999}
        seen = [report["new"] for report in changes_until(nobody, room, 999)]
        assert all(row.keys() <= {"id"} for row in seen)
        assert (await rows_until(anonymous, 999))[-1] == last


async def goforward_follows(server, client, table: str) -> None:
    """Write into a table until a client hears of it: nobody is told when a subscription begins to flow."""
    number = 0
    heard = trio.Event()

    async def listen() -> None:
        await changed(client, table)
        heard.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        while not heard.is_set():
            number += 1
            server.execute(f"insert into {table} values ({number})")
            with trio.move_on_after(0.2):
                await heard.wait()


async def changed(client, table: str):
    """Return the next change of a table that a GoForward client is told of."""
    while True:
        message = await client.receive()
        assert message["event"] != "error", message
        if message["type"] == "database_change":
            change = message["payload"]["change"]
            if change["table"] == table:
                return change


async def both_shapes(client):
    """Return the next change by the name of its table and by the config, in whatever order they come."""
    messages = [await client.next() for _ in range(2)]
    by_type = {message["type"]: message["payload"] for message in messages}
    return by_type["broadcast"], by_type["postgres_changes"]


def changes_until(client, room, last: int):
    found = []
    while not found or found[-1]["new"].get("id") != last:
        found.append(client.heard.expect("change", topic=room))
    return found


async def rows_until(client, last: int):
    found = []
    while not found or found[-1]["id"] != last:
        payload = (await client.next())["payload"]
        found.append(payload.get("record") or payload["old_record"])
        assert found[-1].keys() == {"id"}
    return found


@pytest.mark.usefixtures("private_policies")
async def test_the_private_topic_of_that_name_is_another_room(server, room, supabase):
    insiders = [supabase(kind, user_token(ALICE)) for kind in BOTH]
    public = supabase(SUPABASE_JS_V2, user_token(ALICE))
    for client in insiders:
        client.join(room, private=True, presence=ALICE)
    public.join(room, presence="public")
    async with (
        open_channel(server.port, room, ALICE) as goforward,
        open_fluxbase(server.port, user_token(ALICE)) as fluxbase,
    ):
        await fluxbase.subscribed(room)
        for client in insiders:
            client.track(room, {"in": "private"})
            client.send(room, "secret", {})
        path = f"/realtime/channels/{room}/broadcast"
        body = {"event": "secret", "payload": {}, "private": True, "type": "message"}
        answer = await request(server, "POST", path, user_token(ALICE), body)
        assert answer.status_code == 200, answer.text
        for client in insiders:
            supabase_shows(client, room, {ALICE: [{"in": "private"}] * 2})
            # Of the other's, and of what was posted.
            assert supabase_heard(client, room, "secret") == [("secret", {})]
            assert supabase_heard(client, room, "secret") == [("secret", {})]

        track = {"event": "track", "state": {"in": "public"}}
        await fluxbase.say("presence", room, payload=track)
        await fluxbase.say("broadcast", room, event="public", payload={})
        public_only = [("public", {})]
        assert await goforward_heard(goforward, "public") == public_only
        assert await fluxbase_heard(fluxbase, "public") == public_only
        assert supabase_heard(public, room, "public") == public_only
        supabase_shows(public, room, {ALICE: [{}, {"in": "public"}]})
        told = public.heard.passed_over("presence") + public.heard.passed_over("broadcast")
        assert "private" not in json.dumps(told)
        assert "secret" not in json.dumps(told)
        for client in insiders:
            client.send(room, "end", {})
        for client in insiders:
            assert supabase_heard(client, room, "end") == [("end", {})]
            assert "public" not in json.dumps(client.heard.passed_over("presence"))


@pytest.mark.capability("GF-111")
async def test_permissions_of_the_channel_bind_sockets_of_every_dialect(server, room, supabase):
    permissions = {"read": ["member", "anon"], "write": ["member"]}
    await managed(server, room, permissions=permissions, require_auth=False)
    member, guest = user_token(ALICE, "member"), user_token(BOB, "guest")
    for kind in BOTH:
        stranger = supabase(kind, guest)
        stranger.subscribe(room)
        stranger.heard.expect("status", topic=room, status="CHANNEL_ERROR")
    with pytest.raises(Closed) as refused:
        async with open_channel(server.port, room, token=guest):
            pass
    assert refused.value.code == 403

    readers, writer = [supabase(kind, mint()) for kind in BOTH], supabase(BOTH[1], member)
    for client in (*readers, writer):
        client.join(room, ack=True, presence=client.kind.vsn)
    async with (
        open_channel(server.port, room, token=member) as goforward,
        open_fluxbase(server.port, guest) as stranger,
        open_fluxbase(server.port) as fluxbase,
    ):
        assert "permission" in await stranger.refusal(room)
        await fluxbase.subscribed(room)
        for reader in readers:
            reader.send(room, "unheard", {})
            assert reader.heard.expect("sent", topic=room)["answer"] == "error"
            reader.track(room, {})
            assert reader.heard.expect("tracked", topic=room)["answer"] == "error"
        await fluxbase.say("broadcast", room, event="unheard", payload={})
        assert "permission" in (await fluxbase.next())["error"]
        track = {"event": "track", "key": "anonymous", "state": {}}
        await fluxbase.say("presence", room, payload=track)
        assert "permission" in (await fluxbase.next())["error"]
        path = "/api/v1/realtime/broadcast"
        body = {"channel": room, "event": "unheard", "payload": {}}
        for token in (mint(), guest):
            answer = await request(server, "POST", path, token, body)
            assert answer.status_code == 403, answer.text

        await goforward.send("broadcast", "heard", n=1)
        heard = [("heard", {"n": 1})]
        assert await goforward_heard(goforward, "heard") == heard
        assert await fluxbase_heard(fluxbase, "heard") == heard
        for client in (*readers, writer):
            assert supabase_heard(client, room, "heard") == heard
        # That of the member alone, whom all of them see; and nobody who may not be present.
        supabase_shows(readers[0], room, {ALICE: [{}]})
