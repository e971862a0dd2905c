"""Joins without a `config`, whose topic says what they subscribe to."""

from __future__ import annotations

import pytest

from protocol.changes.model import Kind
from tests.support.changes import make_change, make_table
from tests.support.memory_tenant import open_stage
from tests.support.source import INT4, NOTES, MemorySource

VERSIONS = ["1.0.0", "2.0.0"]
TOPIC = "realtime:public:notes"


async def legacy(stage, version, topic=TOPIC):
    """Return a client that has joined the old way, and what it was told."""
    client = stage.connect(version)
    client.push("phx_join", {}, topic, join_ref="1", ref="1")
    return client, await client.received()


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_kind_of_change_comes_bare_under_its_own_name(autojump_clock, version):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client, (reply, system) = await legacy(stage, version)
        (entry,) = reply.response["postgres_changes"]
        assert entry == {"schema": "public", "table": "notes", "id": entry["id"]}
        assert (system.event, system.payload["status"]) == ("system", "ok")

        lsn = source.written + 10
        rows = [("1", "a"), ("1", "b")]
        source.commit(
            make_change(Kind.INSERT, NOTES, new=rows[0], lsn=lsn, index=0),
            make_change(Kind.UPDATE, NOTES, new=rows[1], old=rows[0], lsn=lsn, index=1),
            make_change(Kind.DELETE, NOTES, old=rows[1], lsn=lsn, index=2),
        )

        told = await client.received()
        assert [(m.event, m.topic, m.ref) for m in told] == [
            (kind, TOPIC, None) for kind in ("INSERT", "UPDATE", "DELETE")
        ]
        for message in told:
            assert message.payload["type"] == message.event
            assert "ids" not in message.payload
        assert told[0].payload["record"] == {"id": 1, "body": "a"}


async def test_the_old_and_the_new_way_share_a_topic(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        old, _ = await legacy(stage, "2.0.0")
        new = stage.connect()
        await new.joined(TOPIC, postgres_changes=[{"schema": "public", "table": "notes"}])
        source.insert((1, "a"))

        (bare,), (wrapped,) = await old.received(), await new.received()
        assert wrapped.event == "postgres_changes"
        assert bare.payload == wrapped.payload["data"]


@pytest.mark.parametrize(
    ("topic", "hears"),
    [
        ("realtime:*", True),
        ("realtime:public", True),
        ("realtime:*:notes", True),
        ("realtime:public:other", False),
        ("realtime:room", False),
    ],
)
async def test_the_topic_says_which_tables(autojump_clock, topic, hears):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client, _ = await legacy(stage, "2.0.0", topic)
        source.insert((1, "a"))
        source.insert((2,), table=make_table({"id": INT4}, name="third", oid=7))

        tables = [m.payload["table"] for m in await client.received()]
        assert ("notes" in tables) is hears


async def test_broadcasts_reach_a_legacy_join_like_any_other(autojump_clock):
    async with open_stage() as stage:
        client, _ = await legacy(stage, "2.0.0", "realtime:room")
        other = stage.connect()
        await other.joined()
        other.broadcast(1)

        (message,) = await client.received()
        assert message.payload["payload"] == 1


@pytest.mark.parametrize("config", [None, {}])
async def test_a_config_however_empty_is_the_new_way(autojump_clock, config):
    async with open_stage() as stage:
        client = stage.connect()
        client.push("phx_join", {"config": config}, TOPIC, join_ref="1")

        (reply,) = await client.received()
        assert reply.response == {"postgres_changes": []}
