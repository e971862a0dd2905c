"""Presence as clients see it: answers, diffs and states, each in both versions of the protocol."""

from __future__ import annotations

import json
import re
import uuid

import pytest
import trio

from actors.realtime.snapshot import take_snapshot
from actors.realtime.tenant import Limits
from tests.support.memory_tenant import open_stage

ROOM = "realtime:room"
KEYED = {"presence": {"key": "me", "enabled": True}}


@pytest.fixture(params=["1.0.0", "2.0.0"])
def version(request):
    return request.param


def presence(messages):
    """Return the names and payloads of what is about presence, without the refs of the metas."""
    return [
        (m.event.removeprefix("presence_"), without_refs(m.payload))
        for m in messages
        if m.event.startswith("presence")
    ]


def without_refs(value):
    match value:
        case dict():
            return {k: without_refs(v) for k, v in value.items() if not k.startswith("phx_ref")}
        case list():
            return [without_refs(one) for one in value]
        case _:
            return value


def metas(*payloads):
    return {"metas": list(payloads)}


def joins(**keys):
    return ("diff", {"joins": {k: metas(v) for k, v in keys.items()}, "leaves": {}})


def leaves(**keys):
    return ("diff", {"joins": {}, "leaves": {k: metas(v) for k, v in keys.items()}})


def replies(messages):
    return [m.payload for m in messages if m.event == "phx_reply"]


OK = {"status": "ok", "response": {}}


# What a push is answered


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "presence", "event": "track", "payload": {"a": 1}},
        {"event": "TRACK", "payload": {"a": 1}},
        {"event": "Track"},
        {"type": "anything", "event": "untrack"},
        {"event": "UnTrack", "payload": {}},
        {"type": "presence"},
        {},
        None,
    ],
    ids=str,
)
async def test_a_presence_push_is_answered_ok(autojump_clock, version, payload):
    async with open_stage() as stage:
        client = stage.connect(version)
        join_ref = await client.joined()

        client.send_raw(encoded(version, payload))

        reply = (await client.received())[0]
        assert (reply.event, reply.ref, reply.payload) == ("phx_reply", "p", OK)
        assert reply.join_ref == (join_ref if version == "2.0.0" else None)


def encoded(version, payload):
    if version == "2.0.0":
        return json.dumps([None, "p", ROOM, "presence", payload])
    return json.dumps({"topic": ROOM, "event": "presence", "payload": payload, "ref": "p"})


@pytest.mark.parametrize(
    ("payload", "response"),
    [
        ({"event": "track", "payload": 5}, {"reason": "Presence track payload must be a map"}),
        ({"event": "track", "payload": []}, {"reason": "Presence track payload must be a map"}),
        (
            {"event": "track", "payload": None},
            {"reason": "Presence track payload must be a map"},
        ),
        ({"event": "join", "payload": {}}, {}),
        ({"event": None}, {}),
        ({"event": 5, "payload": {}}, {}),
    ],
    ids=str,
)
async def test_a_push_that_makes_no_sense_is_refused_and_the_channel_stays(
    autojump_clock, version, payload, response
):
    async with open_stage() as stage:
        client = stage.connect(version)
        await client.joined(**KEYED)
        ref = client.push("presence", payload)

        (reply,) = await client.received()
        assert (reply.ref, reply.payload) == (ref, {"status": "error", "response": response})
        client.track({"a": 1})
        assert presence(await client.received()) == [joins(me={"a": 1})]


async def test_a_payload_over_the_limit_closes_the_channel(autojump_clock, version):
    async with open_stage(limits=Limits(payload_bytes=100)) as stage:
        client, other = stage.connect(version), stage.connect(version)
        join_ref = await client.joined(**KEYED)
        await other.joined()
        client.track({"a": 1})
        await other.received()

        client.track({"a": "x" * 100})

        messages = await client.received()
        assert [m.event for m in messages[-2:]] == ["system", "phx_close"]
        system, close = messages[-2:]
        assert system.payload == {
            "extension": "system",
            "status": "error",
            "message": "Track message size exceeded",
            "channel": "room",
        }
        assert (close.ref, close.payload) == (join_ref, {})
        assert presence(await other.received()) == [leaves(me={"a": 1})]
        client.track({"a": 1})
        assert [m.response for m in await client.received()] == [{"reason": "unmatched topic"}]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(tracked_bytes_per_topic=100), "Too much is tracked on this topic"),
        (Limits(tracked_bytes_per_connection=100), "This client tracks too much"),
    ],
    ids=str,
)
async def test_what_is_tracked_is_bounded_and_freed_again(autojump_clock, limits, reason):
    async with open_stage(limits=limits) as stage:
        client = stage.connect()
        await client.joined(presence={"key": "x" * 50})
        for size in (90, 30, 29):
            client.track({"a": "x" * size})
        client.untrack()
        client.track({"a": "x" * 30})

        answers = [payload["response"] for payload in replies(await client.received())]
        assert answers == [{"reason": reason}, {}, {}, {}, {}]


async def test_the_bound_of_a_connection_counts_all_its_topics(autojump_clock):
    async with open_stage(limits=Limits(tracked_bytes_per_connection=100)) as stage:
        client = stage.connect()
        topics = ("realtime:a", "realtime:b")
        for topic in topics:
            await client.joined(topic, presence={"key": "k"})
        for topic in topics:
            client.track({"a": "x" * 50}, topic)
        first, second = replies(await client.received())
        client.push("phx_leave", {}, "realtime:a")
        client.track({"a": "x" * 50}, "realtime:b")

        assert first == OK
        assert second["status"] == "error"
        assert replies(await client.received())[-1] == OK


async def test_what_other_clients_could_not_read_is_refused(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(**KEYED)
        deep = "[" * 150 + "]" * 150
        client.send_raw(
            f'[null,"9","{ROOM}","presence",{{"event":"track","payload":{{"a":{deep}}}}}]'
        )

        (reply,) = await client.received()
        assert reply.payload["status"] == "error"


# What everybody hears


async def test_a_track_is_told_to_everybody_its_tracker_included(autojump_clock, version):
    async with open_stage() as stage:
        client, other = stage.connect(version), stage.connect(version)
        await client.joined(**KEYED)
        await other.joined()

        client.track({"name": "a"})

        (diff,) = await other.received()
        assert (diff.join_ref, diff.ref, diff.event) == (None, None, "presence_diff")
        assert presence([diff]) == [joins(me={"name": "a"})]
        (meta,) = diff.payload["joins"]["me"]["metas"]
        assert meta.keys() == {"name", "phx_ref"}
        assert re.fullmatch(r"[A-Za-z0-9_-]{16}", meta["phx_ref"])
        assert presence(await client.received()) == [joins(me={"name": "a"})]


async def test_an_update_is_one_diff_that_names_what_it_replaces(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        await client.joined(**KEYED)
        client.track({"n": 1})
        before = (await client.received())[-1].payload["joins"]["me"]["metas"][0]

        client.track({"n": 2})

        diff = (await client.received())[-1].payload
        (now,) = diff["joins"]["me"]["metas"]
        assert now["phx_ref"] != before["phx_ref"]
        assert now == {"n": 2, "phx_ref": now["phx_ref"], "phx_ref_prev": before["phx_ref"]}
        assert diff["leaves"] == {"me": {"metas": [before]}}


async def test_the_same_payload_again_is_no_news(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        await client.joined(**KEYED)
        client.track({"a": 1, "b": 2})
        await client.received()

        client.track({"b": 2, "a": 1})

        assert [m.payload for m in await client.received()] == [OK]


async def test_an_untrack_is_told_once(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        await client.joined(**KEYED)
        client.track({})
        await client.received()

        client.untrack()
        client.untrack()

        messages = await client.received()
        assert replies(messages) == [OK, OK]
        assert presence(messages) == [leaves(me={})]


async def test_tracks_of_one_moment_are_one_diff(autojump_clock):
    async with open_stage() as stage:
        clients = [stage.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            await client.joined(presence={"key": str(number)})

        for client in clients:
            client.track({})

        (diff,) = presence(await clients[1].received())
        assert diff == joins(**{str(number): {} for number in range(20)})


async def test_one_key_on_several_connections_has_several_metas(autojump_clock, version):
    async with open_stage() as stage:
        phone, desk, newcomer = (stage.connect(version) for _ in range(3))
        for number, client in enumerate((phone, desk)):
            await client.joined(**KEYED)
            client.track({"on": number})
            await client.received()
        newcomer.join(**KEYED)
        assert presence(await newcomer.received()) == [
            ("state", {"me": metas({"on": 0}, {"on": 1})})
        ]

        phone.leave_socket()

        assert presence(await newcomer.received()) == [leaves(me={"on": 0})]


@pytest.mark.parametrize("key", ["", None])
async def test_without_a_key_each_join_gets_one_of_its_own(autojump_clock, key):
    async with open_stage() as stage:
        client, other = stage.connect(), stage.connect()
        for one in (client, other):
            await one.joined(presence={"key": key, "enabled": True})
        for one in (client, other):
            one.track({})

        (name, diff), *rest = presence(await other.received())
        keys = list(diff["joins"])
        assert (name, len(set(keys)), rest) == ("diff", 2, [])
        assert {uuid.UUID(key).version for key in keys} == {1}


@pytest.mark.capability("M5-036", "M5-056")
@pytest.mark.parametrize("key", ["ann", "room:user:7", 'é"\\', 7])
async def test_a_key_is_one_text_wherever_it_is_told(autojump_clock, version, key):
    async with open_stage() as stage:
        client, newcomer = stage.connect(version), stage.connect(version)
        await client.joined(presence={"key": key, "enabled": True})
        client.track({"a": 1})
        told = presence(await client.received())
        newcomer.join(presence={"key": "newcomer", "enabled": True})
        state = presence(await newcomer.received())
        counted = take_snapshot(stage.tenant, 0.0).channels[0].presences
        client.leave_socket()
        left = presence(await newcomer.received())

        name = str(key)
        assert told == [joins(**{name: {"a": 1}})]
        assert state == [("state", {name: metas({"a": 1})})]
        assert [one.key for one in counted] == [name]
        assert left == [leaves(**{name: {"a": 1}})]


async def test_a_key_may_be_any_scalar(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(presence={"key": 7})
        client.track({})

        assert presence(await client.received()) == [joins(**{"7": {}})]


@pytest.mark.parametrize("way", ["leave", "socket", "rejoin", "refused rejoin"])
async def test_who_is_gone_has_left(autojump_clock, version, way):
    async with open_stage() as stage:
        client, other = stage.connect(version), stage.connect(version)
        join_ref = await client.joined(**KEYED)
        await other.joined()
        client.track({"a": 1})
        await other.received()

        match way:
            case "leave":
                client.push("phx_leave", join_ref=join_ref)
            case "socket":
                client.leave_socket()
            case "rejoin":
                client.join(**KEYED)
            case "refused rejoin":
                client.join(token="nobody")

        assert presence(await other.received()) == [leaves(me={"a": 1})]


async def test_a_leaver_hears_its_reply_and_nothing_of_presence_behind_it(
    autojump_clock, version
):
    async with open_stage() as stage:
        client = stage.connect(version)
        join_ref = await client.joined(**KEYED)
        client.track({})
        await client.received()

        client.push("phx_leave", join_ref=join_ref)

        assert [m.event for m in await client.received()] == ["phx_reply", "phx_close"]


async def test_a_track_with_a_stale_or_missing_join_ref_counts(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(**KEYED)

        for number, join_ref in enumerate([None, "stale"]):
            client.track({"n": number}, join_ref=join_ref)
            assert len(presence(await client.received())) == 1


# Who is sent the state


@pytest.mark.parametrize(
    ("config", "tenant", "expected"),
    [
        ({"presence": {"enabled": True}}, False, True),
        ({"presence": {"enabled": "true", "key": ""}}, False, True),
        ({"presence": {"key": "k"}}, False, True),
        ({"presence": {"enabled": False, "key": "k"}}, False, False),
        ({"presence": {}}, False, False),
        ({}, False, False),
        ({}, True, True),
        ({"presence": {"enabled": False}}, True, True),
    ],
    ids=str,
)
@pytest.mark.capability("SB-076")
async def test_the_state_comes_once_and_behind_the_reply_if_it_is_asked_for(
    autojump_clock, version, config, tenant, expected
):
    async with open_stage(presence_enabled=tenant) as stage:
        client = stage.connect(version)
        join_ref = client.join(**config)

        reply, *states = await client.received()
        assert reply.event == "phx_reply"
        assert presence(states) == [("state", {})] * expected
        for state in states:
            assert (state.join_ref, state.ref) == (
                join_ref if version == "2.0.0" else None,
                None,
            )


async def test_a_newcomer_is_sent_who_is_there(autojump_clock, version):
    async with open_stage() as stage:
        client, newcomer = stage.connect(version), stage.connect(version)
        await client.joined(**KEYED)
        client.track({"a": 1})
        diff = (await client.received())[-1].payload

        newcomer.join(presence={"enabled": True})

        state = (await newcomer.received())[-1]
        assert (state.event, state.payload) == ("presence_state", diff["joins"])


@pytest.mark.capability("M5-034")
async def test_the_state_comes_again_with_a_rejoin(autojump_clock, version):
    async with open_stage() as stage:
        client, other = stage.connect(version), stage.connect(version)
        await client.joined(**KEYED)
        await other.joined(presence={"key": "other"})
        other.track({})
        await client.received()

        client.join(**KEYED)

        assert presence(await client.received()) == [("state", {"other": metas({})})]


async def test_who_did_not_ask_for_presence_hears_diffs_and_may_track(autojump_clock, version):
    async with open_stage() as stage:
        client, other = stage.connect(version), stage.connect(version)
        await client.joined(presence={"key": "me", "enabled": False})
        await other.joined(presence={"key": "other"})

        other.track({})
        assert presence(await client.received()) == [joins(other={})]
        client.track({})
        assert presence(await client.received()) == [joins(me={})]
        assert presence(await other.received())[-1] == joins(me={})


# Topics and private channels


async def test_other_topics_and_private_channels_of_the_same_name_are_apart(autojump_clock):
    async with open_stage() as stage:
        client, elsewhere = stage.connect(), stage.connect()
        private = stage.connect(role="service_role")
        await client.joined(**KEYED)
        await elsewhere.joined("realtime:room2", presence={"enabled": True})
        await private.joined(private=True, presence={"enabled": True})

        client.track({})
        private.track({})

        assert presence(await elsewhere.received()) == []
        assert len(presence(await client.received())) == 1
        assert len(presence(await private.received())) == 1


async def test_a_private_channel_has_presence_for_the_service_role(autojump_clock, version):
    async with open_stage() as stage:
        client, other = (stage.connect(version, role="service_role") for _ in range(2))
        await client.joined(private=True, **KEYED)
        await other.joined(private=True, presence={"enabled": True})

        client.track({"a": 1})

        assert presence(await other.received()) == [joins(me={"a": 1})]


async def test_in_private_who_did_not_ask_for_presence_hears_of_it_from_its_own_track_on(
    autojump_clock, version
):
    async with open_stage() as stage:
        client, other = (stage.connect(version, role="service_role") for _ in range(2))
        await client.joined(private=True, presence={"key": "me", "enabled": False})
        await other.joined(private=True, presence={"key": "other"})

        other.track({"n": 1})
        other.broadcast({"still": "heard"})
        messages = await client.received()
        assert [m.event for m in messages] == ["broadcast"]
        client.track({})

        assert presence(await client.received()) == [joins(me={})]
        other.track({"n": 2})
        assert len(presence(await client.received())) == 1


# What is left behind


async def test_nothing_is_left_when_everybody_is_gone(autojump_clock):
    async with open_stage() as stage:
        clients = [stage.connect() for _ in range(10)]
        for client in clients:
            await client.joined(**KEYED)
            client.track({})
        await clients[0].received()
        assert stage.presence() is not None
        assert gauge(stage) == 10

        clients[0].untrack()
        for client in clients[1:]:
            client.leave_socket()

        assert presence(await clients[0].received())[-1][1]["joins"] == {}
        assert stage.presence() is None
        assert gauge(stage) == 0
        clients[0].leave_socket()
        await clients[0].received()
        assert stage.channels_supervisor.children() == ()


def gauge(stage):
    return stage.metrics.presences._value.get()


async def test_presence_is_counted(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(**KEYED)
        client.track({})
        client.track(5)
        client.push("presence", {"event": "dance"})
        await client.received()

        text = stage.metrics.render().decode()
        for line in (
            "realtime_presences 1.0",
            "realtime_presence_pushes_total 3.0",
            'realtime_presence_refused_total{reason="not_an_object"} 1.0',
            'realtime_presence_refused_total{reason="unknown_event"} 1.0',
            "realtime_presence_diffs_total 1.0",
            "realtime_presence_states_total 1.0",
        ):
            assert line in text


async def test_a_presence_that_lasts_needs_nobody_to_look(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined(**KEYED)
        client.track({})
        await client.received()

        await trio.sleep(86_400)

        newcomer = stage.connect()
        newcomer.join(presence={"enabled": True})
        assert presence(await newcomer.received()) == [("state", {"me": metas({})})]
