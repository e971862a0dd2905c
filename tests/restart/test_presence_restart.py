"""Presence survives the crash of any actor that has to do with it: nobody is seen to come or go who did not."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
import trio.testing

from actors.core.errors import Poisoned
from actors.observer import kind_of
from actors.realtime.fanout import SENDS_PER_CHECKPOINT
from actors.realtime.messages import Publish
from actors.realtime.tracker import Tracker
from protocol.events import TextBroadcast
from protocol.presence.published import Published
from tests.support.memory_tenant import open_stage
from tests.support.presence import Folded
from tests.support.source import MemorySource
from tests.support.tripwire import lay_tripwire

#: One crash more within a minute, and an actor is given up.
CRASHES = 5


class Guest:
    """A client that folds what it is told of one topic."""

    def __init__(self, stage, key: str) -> None:
        self.client = stage.connect()
        self.key = key
        self.folded = Folded()
        self.events: list[str] = []

    def join(self) -> None:
        self.folded.begin()
        self.client.join(presence={"key": self.key, "enabled": True})

    async def listen(self) -> list[str]:
        """Fold what came, and return the names of the events."""
        messages = await self.client.received()
        for message in messages:
            self.folded.take(message)
        return [message.event for message in messages]

    async def sees(self) -> set[str]:
        """Return the keys of who is present, after a while in which everything settles."""
        await trio.sleep(10)
        await self.listen()
        assert self.folded.faults == []
        return set(self.folded.state)


async def guests(stage, *keys: str) -> list[Guest]:
    """Return guests that joined and are present."""
    found = [Guest(stage, key) for key in keys]
    for guest in found:
        guest.join()
        await guest.listen()
        guest.client.track({"of": guest.key})
    for guest in found:
        assert await guest.sees() == set(keys)
        guest.folded.joined.clear()
    return found


def crash(stage, ref, how: str) -> None:
    if how == "poison":
        stage.poison(ref)
    else:
        stage.channels_supervisor.fail(ref, Poisoned("while it waited"))


def crashes(stage) -> int:
    return sum(type(report).__name__ == "CrashReport" for report in stage.reports)


@pytest.mark.parametrize("how", ["poison", "fail"])
@pytest.mark.parametrize("what", ["presence", "channel"])
async def test_a_crash_between_two_tracks_is_noticed_by_nobody(autojump_clock, what, how):
    async with open_stage() as stage:
        present = await guests(stage, "a", "b", "c")
        one, other = Guest(stage, "d"), Guest(stage, "e")
        for guest in (one, other):
            guest.join()
            await guest.listen()

        one.client.track({})
        await trio.lowlevel.checkpoint()
        crash(stage, getattr(stage, what)(), how)
        other.client.track({})

        for guest in present:
            assert await guest.sees() == {"a", "b", "c", "d", "e"}
            assert sum(guest.folded.joined.values()) == 2
            assert not guest.folded.left
        newcomer = Guest(stage, "f")
        newcomer.join()
        assert await newcomer.sees() == {"a", "b", "c", "d", "e"}
        assert crashes(stage) == 1


class Brittle(Published):
    """Fails once at the n-th note, before it has done anything."""

    fails_after = 0

    def note(self, owner, meta) -> None:
        Brittle.fails_after -= 1
        if Brittle.fails_after == 0:
            raise Poisoned("in the middle of comparing")
        super().note(owner, meta)


@pytest.mark.parametrize("nth", [1, 2, 5])
async def test_a_crash_in_the_middle_of_comparing_loses_nothing(
    autojump_clock, monkeypatch, nth
):
    monkeypatch.setattr("actors.realtime.channels.Published", Brittle)
    async with open_stage() as stage:
        present = await guests(stage, "a", "b", "c")
        newcomers = [Guest(stage, key) for key in "defgh"]
        for guest in newcomers:
            guest.join()
            await guest.listen()
        Brittle.fails_after = nth

        for guest in newcomers:
            guest.client.track({})
        present[0].client.leave_socket()

        for guest in (*present[1:], *newcomers):
            assert await guest.sees() == set("bcdefgh")
        assert crashes(stage) == 1


async def test_an_update_that_crashed_the_comparing_is_still_an_update(
    autojump_clock, monkeypatch
):
    monkeypatch.setattr("actors.realtime.channels.Published", Brittle)
    async with open_stage() as stage:
        one, other = await guests(stage, "a", "b")
        Brittle.fails_after = 1

        one.client.track({"of": "a", "n": 2})

        assert await other.sees() == {"a", "b"}
        assert other.folded.state["a"][0]["n"] == 2
        assert sum(other.folded.joined.values()) == sum(other.folded.left.values()) == 1


async def test_who_ends_without_a_word_leaves_no_ghost(autojump_clock, monkeypatch):
    async with open_stage() as stage:
        one, other = await guests(stage, "a", "b")
        monkeypatch.setattr(Tracker, "untrack_all", lambda _self: None)

        one.client.leave_socket()

        assert await other.sees() == {"b"}


async def test_who_ended_before_the_presence_actor_looked_leaves_no_ghost(
    autojump_clock, monkeypatch
):
    async with open_stage() as stage:
        (witness,) = await guests(stage, "a")
        late = Guest(stage, "b")
        late.join()
        await late.listen()
        monkeypatch.setattr(Tracker, "untrack_all", lambda _self: None)

        late.client.track({})
        late.client.leave_socket()

        assert await witness.sees() == {"a"}


async def test_a_channel_that_crashes_in_the_middle_of_a_diff_tells_everybody_once(
    autojump_clock,
):
    async with open_stage() as stage:
        members = [Guest(stage, str(number)) for number in range(2 * SENDS_PER_CHECKPOINT)]
        for member in members:
            member.join()
        await members[-1].listen()
        lay_tripwire(
            stage.channels_supervisor,
            stage.channel().name,
            stage.channel(),
            at=lambda subscription: subscription.outbox is members[3].client.socket.outbox,
        )

        members[0].client.track({})
        members[1].client.track({})

        for member in members:
            assert await member.sees() == {"0", "1"}
        assert crashes(stage) == 1


async def test_when_the_presence_actor_is_given_up_everybody_joins_anew(autojump_clock):
    async with open_stage() as stage:
        present = await guests(stage, "a", "b", "c")
        for _ in range(CRASHES + 1):
            stage.poison(stage.presence())
            await trio.sleep(4)
        for guest in present:
            assert await guest.listen() == ["phx_error"]

        present[0].join()
        present[1].join()
        assert await present[0].sees() == set()
        present[1].client.track({"again": True})

        for guest in present[:2]:
            assert await guest.sees() == {"b"}
        for guest in present:
            guest.client.leave_socket()
        await trio.sleep(10)
        assert stage.channels_supervisor.children() == ()


async def test_rows_and_presence_of_one_topic_are_two_actors(autojump_clock):
    async with open_stage(source=MemorySource()) as stage:
        guest = Guest(stage, "a")
        binding = {"event": "*", "schema": "public", "table": "notes"}
        guest.client.join(presence={"enabled": True, "key": "a"}, postgres_changes=[binding])
        await guest.listen()
        guest.client.track({})

        assert await guest.sees() == {"a"}
        assert None is not stage.rows() is not stage.presence() is not None
        kinds = [kind_of(child.name) for child in stage.channels_supervisor.children()]
        assert sorted(kinds) == ["channel", "presence", "rows"]


async def test_who_joins_anew_at_once_sees_nobody_twice_and_no_ghost(autojump_clock):
    async with open_stage() as stage:
        present = await guests(stage, "a", "b", "c")
        for _ in range(CRASHES):
            stage.poison(stage.presence())
            await trio.sleep(4)
        newcomer = Guest(stage, "d")
        newcomer.join()
        stage.poison(stage.presence())
        present[0].client.track({"of": "a", "n": 2})
        assert (await present[0].listen())[-1] == "phx_error"

        present[0].join()
        present[0].client.track({"n": 3})

        assert await present[0].sees() == {"a"}
        assert present[0].folded.state["a"][0]["n"] == 3


async def test_when_the_channel_is_given_up_its_presence_ends_with_it(autojump_clock):
    async with open_stage() as stage:
        present = await guests(stage, "a", "b")
        for _ in range(CRASHES + 1):
            stage.poison(stage.channel())
            await trio.sleep(4)
        for guest in present:
            assert await guest.listen() == ["phx_error"]
        assert stage.channels_supervisor.children() == ()

        for guest in present:
            guest.join()
        present[0].client.track({})

        for guest in present:
            assert await guest.sees() == {"a"}


async def test_a_diff_that_finds_the_channel_full_is_told_all_the_same(autojump_clock):
    async with open_stage() as stage:
        one, other = await guests(stage, "a", "b")
        one.client.track({"n": 2})
        one.client.track({"n": 3})
        # Nobody else runs until the test waits: the mailbox is full when the tracks are looked at.
        while stage.channel().tell(Publish(TextBroadcast(b"{}"))):
            pass

        assert await other.sees() == {"a", "b"}
        assert other.folded.state["a"][0]["n"] == 3
