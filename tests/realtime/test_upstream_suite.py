"""What Supabase's own integration tests assert of broadcast and presence, where no other test here does.

**Source**: spec, appendix A: rt_channel/broadcast, presence, connection_lifecycle and measure_traffic.
"""

from __future__ import annotations

import pytest

from tests.support.memory_tenant import open_stage

VERSIONS = ["1.0.0", "2.0.0"]


def presence(event, payload=None):
    return {"type": "presence", "event": event, "payload": payload or {}}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("join_ref", ["stale", None])
async def test_presence_is_tracked_whatever_the_join_ref(autojump_clock, version, join_ref):
    async with open_stage() as stage:
        client = stage.connect(version)
        await client.joined(presence={"enabled": True, "key": "ann"})

        ref = client.push("presence", presence("track", {"a": 1}), join_ref=join_ref)

        reply, diff = await client.received()
        assert (reply.ref, reply.payload["status"]) == (ref, "ok")
        assert [meta["a"] for meta in diff.payload["joins"]["ann"]["metas"]] == [1]


@pytest.mark.parametrize("version", VERSIONS)
async def test_presence_goes_on_after_a_rejoin_of_another_connection(autojump_clock, version):
    async with open_stage() as stage:
        observer, client = stage.connect(version), stage.connect(version)
        await observer.joined(presence={"enabled": True})
        await client.joined(presence={"key": "ann"})
        client.push("presence", presence("track"))
        await observer.received()

        await client.joined(presence={"key": "ann"})

        (diff,) = [m.payload for m in await observer.received()]
        assert (list(diff["joins"]), list(diff["leaves"])) == ([], ["ann"])


@pytest.mark.parametrize("version", VERSIONS)
async def test_five_broadcasts_of_each_of_two_members_with_self_reach_both(
    autojump_clock, version
):
    async with open_stage() as stage:
        members = [stage.connect(version), stage.connect(version)]
        for member in members:
            await member.joined(broadcast={"self": True})

        for number in range(5):
            for member in members:
                member.broadcast({"n": number})

        for member in members:
            heard = [m.payload["payload"]["n"] for m in await member.received()]
            assert sorted(heard) == sorted([*range(5), *range(5)])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_cannot_listen_in_by_spelling_privacy_into_the_topic(
    autojump_clock, version
):
    async with open_stage() as stage:
        private = stage.connect(version, role="service_role")
        intruders = [stage.connect(version) for _ in range(3)]
        await private.joined("realtime:topic", private=True, broadcast={"self": True})
        spellings = ("realtime:private:topic", "realtime:topic-private", "realtime:topic")
        for intruder, spelling in zip(intruders, spellings, strict=True):
            await intruder.joined(spelling)

        private.broadcast({"secret": 1}, "realtime:topic")

        assert len(await private.received()) == 1
        assert [await intruder.received() for intruder in intruders] == [[], [], []]


@pytest.mark.parametrize("version", VERSIONS)
async def test_ten_channels_hear_of_a_stopping_server_before_it_closes(autojump_clock, version):
    async with open_stage() as stage:
        client = stage.connect(version)
        topics = [f"realtime:{number}" for number in range(10)]
        for topic in topics:
            await client.joined(topic)

    told = await client.received()
    assert sorted(message.topic for message in told) == topics
    assert {message.payload["message"] for message in told} == {"Server requested disconnect"}
    assert client.socket.outbox.close_code == 1012
