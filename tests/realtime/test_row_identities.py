"""Row changes of a client that exchanges its token: judged by the identity that holds when they are delivered."""

from __future__ import annotations

import pytest
import trio

from actors.realtime import rows
from actors.realtime.channels import Channels
from actors.realtime.matching import Frames
from actors.realtime.rows import ROUNDS
from protocol.changes.model import Kind
from tests.support.changes import make_change
from tests.support.memory_tenant import fake_token, open_stage
from tests.support.source import NOTES, MemorySource

EVERYTHING = [{"event": "*", "schema": "public", "table": "notes"}]
SUBSCRIBED = ("ok", "Subscribed to PostgreSQL")
VERSIONS = ["1.0.0", "2.0.0"]


def ids_of(messages):
    return [
        m.payload["data"]["record"]["id"] for m in messages if m.event == "postgres_changes"
    ]


def notices(messages):
    return [
        (m.payload["status"], m.payload["message"]) for m in messages if m.event == "system"
    ]


def exchange(client, token):
    client.push("access_token", {"access_token": token})


def exchanging_while_it_is_asked(client, stage):
    """Return a check for the stage's visibility during which the client comes with another token."""
    asked = stage.visibility.check

    async def check(questions):
        exchange(client, fake_token(sub=str(len(stage.visibility.asked))))
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        return await asked(questions)

    return check


@pytest.mark.parametrize("version", VERSIONS)
async def test_rows_are_judged_by_the_new_identity_and_the_client_is_told_so(
    autojump_clock, version
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.hidden_from = {"anon"}
        client = stage.connect(version, role="service_role")
        await client.joined(postgres_changes=EVERYTHING)
        source.insert((1, "a"))
        assert ids_of(await client.received()) == [1]

        exchange(client, "anon")
        assert notices(await client.received()) == [SUBSCRIBED]
        source.insert((2, "b"))
        assert await client.received() == []

        exchange(client, "authenticated")
        assert notices(await client.received()) == [SUBSCRIBED]
        source.insert((3, "c"))
        assert ids_of(await client.received()) == [3]


async def test_who_has_no_row_changes_is_told_nothing(autojump_clock):
    async with open_stage(source=MemorySource()) as stage:
        client, other = stage.connect(), stage.connect()
        await client.joined()
        await other.joined(postgres_changes=EVERYTHING)
        exchange(client, "authenticated")

        assert await client.received() == []
        assert await other.received() == []


async def test_a_client_that_exchanges_its_token_while_no_changes_flow_is_told_when_they_do(
    autojump_clock,
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        client = stage.connect()
        await client.joined(postgres_changes=EVERYTHING)
        source.break_off("the database is away")
        await client.received()
        exchange(client, "authenticated")
        assert [status for status, _ in notices(await client.received())] == ["error"]
        source.advice = None
        await trio.sleep(60)

        assert notices(await client.received()) == [SUBSCRIBED]


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_answer_about_an_identity_that_is_over_is_discarded_and_asked_again(
    autojump_clock, version
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.hidden_from = {"anon"}
        client = stage.connect(version, role="service_role")
        other = stage.connect(version, role="service_role")
        await client.joined(postgres_changes=EVERYTHING)
        await other.joined(postgres_changes=EVERYTHING)
        stage.visibility.hold()
        source.insert((1, "a"))
        await client.received()
        exchange(client, "anon")
        await client.received()
        stage.visibility.release()

        assert ids_of(await client.received()) == []
        assert ids_of(await other.received()) == [1]


async def test_a_row_that_the_new_identity_may_see_is_not_lost_by_the_exchange(autojump_clock):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.hidden_from = {"anon"}
        client = stage.connect(role="anon")
        await client.joined(postgres_changes=EVERYTHING)
        stage.visibility.hold()
        source.insert((1, "a"))
        await client.received()
        exchange(client, "service_role")
        await client.received()
        stage.visibility.release()

        assert ids_of(await client.received()) == [1]


async def test_who_takes_the_identity_of_another_is_asked_about_for_its_own_changes(
    autojump_clock,
):
    source = MemorySource()
    inserts = [{"event": "INSERT", "schema": "public", "table": "notes"}]
    updates = [{"event": "UPDATE", "schema": "public", "table": "notes"}]
    shared = fake_token("authenticated", sub="shared")
    async with open_stage(source=source) as stage:
        first, second = stage.connect(), stage.connect()
        first.join(token=shared, postgres_changes=inserts)
        second.join(postgres_changes=updates)
        await first.received()
        await second.received()
        stage.visibility.hold()
        source.commit(
            make_change(Kind.INSERT, NOTES, new=("1", "a"), lsn=200),
            make_change(Kind.UPDATE, NOTES, new=("2", "b"), lsn=200, index=1),
        )
        await first.received()
        exchange(second, shared)
        await second.received()
        stage.visibility.release()

        assert ids_of(await first.received()) == [1]
        assert ids_of(await second.received()) == [2]


async def test_a_client_that_exchanges_tokens_all_the_time_does_not_keep_others_waiting(
    autojump_clock,
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        restless, other = stage.connect(), stage.connect()
        await restless.joined(postgres_changes=EVERYTHING)
        await other.joined(postgres_changes=EVERYTHING)
        asked = stage.visibility.check
        stage.visibility.check = exchanging_while_it_is_asked(restless, stage)
        source.insert((1, "a"))

        assert ids_of(await other.received()) == [1]
        stage.visibility.check = asked
        told = notices(restless_messages := await restless.received())
        assert ids_of(restless_messages) == []
        assert any("exchanged too often" in message for _, message in told)
        source.insert((2, "b"))
        assert ids_of(await restless.received()) == [2]


async def test_who_exchanges_its_token_during_the_last_encoding_gets_nothing_of_the_old_one(
    autojump_clock, monkeypatch
):
    source = MemorySource()
    async with open_stage(source=source) as stage:
        stage.visibility.hidden_from = {"anon"}
        restless, late = stage.connect(), stage.connect(role="service_role")
        await restless.joined(postgres_changes=EVERYTHING)
        await late.joined(postgres_changes=EVERYTHING)
        encodings = 0

        class SlowFrames(Frames):
            async def of(self, *arguments):
                nonlocal encodings
                parcels = await super().of(*arguments)
                encodings += 1
                if encodings == ROUNDS + 1:
                    exchange(late, "anon")
                    for _ in range(100):
                        await trio.lowlevel.checkpoint()
                return parcels

        monkeypatch.setattr(rows, "Frames", SlowFrames)
        stage.visibility.check = exchanging_while_it_is_asked(restless, stage)
        source.insert((1, "a"))
        messages = await late.received()

        assert encodings > ROUNDS
        assert ids_of(messages) == []
        assert any("exchanged too often" in message for _, message in notices(messages))


class Clumsy(Channels):
    """Channels that crash once while they hold the message of an exchange."""

    crashes = 1

    def wake_rows(self, key, channel):
        if self.crashes:
            self.crashes -= 1
            raise ZeroDivisionError
        super().wake_rows(key, channel)


async def test_a_channel_that_crashes_over_an_exchange_learns_of_it_all_the_same(
    autojump_clock,
):
    source = MemorySource()
    async with open_stage(source=source, channels_type=Clumsy) as stage:
        stage.visibility.hidden_from = {"anon"}
        client = stage.connect(role="service_role")
        await client.joined(postgres_changes=EVERYTHING)
        exchange(client, "anon")
        assert notices(await client.received()) == [SUBSCRIBED]

        source.insert((1, "a"))
        assert await client.received() == []


async def test_a_channel_that_never_learns_of_it_ends_the_subscription(autojump_clock):
    class Hopeless(Clumsy):
        crashes = 1000

    source = MemorySource()
    async with open_stage(source=source, channels_type=Hopeless) as stage:
        client = stage.connect(role="service_role")
        await client.joined(postgres_changes=EVERYTHING)
        exchange(client, "anon")
        await trio.sleep(60)

        events = {message.event for message in await client.received()}
        assert events <= {"system", "phx_close", "phx_error"}
        assert {"phx_close", "phx_error"} & events
