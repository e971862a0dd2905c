"""What every change source must do; each function takes a harness and fails where the source does not.

Run on the fake by `test_fake_change_source.py` and on Postgres by `tests/db/test_replication.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
import trio

from actors.realtime.errors import Unavailable
from protocol.changes.model import Kind

if TYPE_CHECKING:
    from actors.realtime.change_ports import ChangeSource, ChangeStream, Chunk
    from protocol.changes.model import Change, Lsn, Position

MAX_CHUNK_CHANGES = 500


class Harness(Protocol):
    """A source, and what a test does to the database behind it."""

    source: ChangeSource

    @property
    def is_durable(self) -> bool:
        """Whether the source keeps what commits while nobody streams."""
        ...

    async def insert(self, *ids: int) -> None:
        """Commit one transaction that inserts a row for each id into a table whose first column it is."""
        ...

    async def break_off(self) -> None:
        """End the streams there are."""
        ...


async def receive(stream: ChangeStream, count: int) -> list[Change]:
    """Receive until there are `count` changes, acknowledging each chunk."""
    changes: list[Change] = []
    while len(changes) < count:
        changes.extend((await receive_chunk(stream)).changes)
    return changes


async def receive_chunk(stream: ChangeStream) -> Chunk:
    """Receive one chunk and acknowledge it."""
    chunk = await stream.receive()
    assert len(chunk.changes) <= MAX_CHUNK_CHANGES
    assert chunk.changes or chunk.gap
    stream.acknowledge(chunk.acknowledged)
    return chunk


async def receive_until(
    stream: ChangeStream, last: int, after: Position | None
) -> tuple[list[int], bool]:
    """Receive until the row `last`; return the rows behind `after` and whether a gap came before any of them."""
    found: list[int] = []
    has_gap = False
    while last not in found:
        chunk = await receive_chunk(stream)
        assert chunk.gap is None or not found
        has_gap = has_gap or chunk.gap is not None
        found += ids([c for c in chunk.changes if after is None or c.position > after])
    return found, has_gap


def ids(changes: list[Change]) -> list[int]:
    return [int(change.new[0]) for change in changes]


async def what_commits_after_entering_is_received(harness: Harness) -> None:
    await harness.insert(1)
    async with harness.source.connect(None) as stream:
        await harness.insert(2)
        await harness.insert(3, 4)
        changes = await receive(stream, 3)

    assert ids(changes) == [2, 3, 4]
    assert {change.kind for change in changes} == {Kind.INSERT}


async def positions_grow_and_say_what_belongs_together(harness: Harness) -> None:
    async with harness.source.connect(None) as stream:
        await harness.insert(1, 2)
        await harness.insert(3)
        changes = await receive(stream, 3)

    positions = [change.position for change in changes]
    assert positions == sorted(set(positions))
    assert positions[0].commit_lsn == positions[1].commit_lsn < positions[2].commit_lsn
    assert [position.index for position in positions] == [0, 1, 0]


async def a_big_transaction_comes_in_several_chunks(harness: Harness) -> None:
    count = 2 * MAX_CHUNK_CHANGES + 1
    chunks = []
    async with harness.source.connect(None) as stream:
        await harness.insert(*range(count))
        while sum(len(chunk.changes) for chunk in chunks) < count:
            chunks.append(await stream.receive())

    assert [change_id for chunk in chunks for change_id in ids(chunk.changes)] == list(
        range(count)
    )
    assert max(len(chunk.changes) for chunk in chunks) <= MAX_CHUNK_CHANGES
    commit_lsn = chunks[0].changes[0].position.commit_lsn
    # Until its last change is in the log, nothing of the transaction may be forgotten.
    assert all(chunk.acknowledged < commit_lsn for chunk in chunks[:-1])


async def a_cancelled_receive_loses_nothing(harness: Harness) -> None:
    async with harness.source.connect(None) as stream:
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.receive()
        await harness.insert(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.receive()
        changes = await receive(stream, 1)

    assert ids(changes) == [1]


async def a_stream_that_breaks_is_unavailable_and_another_can_be_had(harness: Harness) -> None:
    async with harness.source.connect(None) as stream:
        await harness.break_off()
        with pytest.raises(Unavailable) as caught:
            await receive(stream, 1)
    assert caught.value.advice

    async with harness.source.connect(None) as stream:
        await harness.insert(1)
        assert ids(await receive(stream, 1)) == [1]


async def errors_of_the_body_come_out_as_they_are(harness: Harness) -> None:
    with pytest.raises(KeyError):
        async with harness.source.connect(None):
            raise KeyError


async def what_commits_while_nobody_streams_is_received_or_announced_as_lost(
    harness: Harness,
) -> None:
    async with harness.source.connect(None) as stream:
        await harness.insert(1)
        (first,) = await receive(stream, 1)
        await harness.break_off()
        await harness.insert(2)

    async with harness.source.connect(first.position) as stream:
        await harness.insert(3)
        found, has_gap = await receive_until(stream, 3, first.position)

    assert has_gap is not harness.is_durable
    assert found == ([2, 3] if harness.is_durable else [3])


async def what_was_handed_out_and_not_kept_comes_again_or_is_announced_as_lost(
    harness: Harness,
) -> None:
    async with harness.source.connect(None) as stream:
        await harness.insert(1)
        await stream.receive()

    async with harness.source.connect(None) as stream:
        await harness.insert(2)
        found, has_gap = await receive_until(stream, 2, None)

    assert has_gap is not harness.is_durable
    assert found == ([1, 2] if harness.is_durable else [2])


async def what_was_received_half_comes_whole_or_is_announced_as_lost(harness: Harness) -> None:
    count = 2 * MAX_CHUNK_CHANGES
    async with harness.source.connect(None) as stream:
        await harness.insert(*range(count))
        half = (await receive_chunk(stream)).changes

    after = half[-1].position
    async with harness.source.connect(after) as stream:
        await harness.insert(count)
        found, has_gap = await receive_until(stream, count, after)

    assert has_gap is not harness.is_durable
    expected = range(len(half), count + 1) if harness.is_durable else [count]
    assert found == list(expected)


async def a_gap_is_announced_again_until_it_is_acknowledged(harness: Harness) -> None:
    async with harness.source.connect(None) as stream:
        await harness.insert(1)
        (first,) = await receive(stream, 1)
    for number in (2, 3):
        async with harness.source.connect(first.position) as stream:
            await harness.insert(number)
            chunk = await stream.receive()

    assert (chunk.gap is not None) is not harness.is_durable


async def what_is_released_does_not_come_again(harness: Harness) -> None:
    async with harness.source.connect(None) as stream:
        await harness.insert(1)
        await harness.insert(2)
        await receive(stream, 2)
        await harness.source.release(stream.confirmed)
        # Nothing new: says nothing.
        await harness.source.release(stream.confirmed)

    # As a server that starts anew does.
    async with harness.source.connect(None) as stream:
        await harness.insert(3)
        found, _has_gap = await receive_until(stream, 3, None)

    assert found == [3]


async def what_is_released_is_no_gap(harness: Harness) -> None:
    async with harness.source.connect(None) as stream:
        await harness.insert(1)
        first, *_ = await receive(stream, 1)
        await harness.insert(2)
        await receive(stream, 1)
        await harness.source.release(stream.confirmed)

    async with harness.source.connect(first.position) as stream:
        await harness.insert(3)
        found, has_gap = await receive_until(stream, 3, first.position)

    assert has_gap is not harness.is_durable
    assert found[-1] == 3


async def without_a_stream_nothing_is_released(harness: Harness) -> None:
    async with harness.source.connect(None):
        pass

    with pytest.raises(Unavailable):
        await harness.source.release(await harness.source.insert_position())


async def what_is_acknowledged_is_confirmed(harness: Harness) -> None:
    async with harness.source.connect(None) as stream:
        # Of the first transaction the end may not have come yet, but it comes before the second one.
        for value in (1, 2):
            await harness.insert(value)
            chunk = await stream.receive()
            while not chunk.changes:
                chunk = await stream.receive()
        before = stream.confirmed
        stream.acknowledge(chunk.acknowledged)

        assert before < chunk.acknowledged <= stream.confirmed <= stream.written


async def an_insert_position_lies_between_what_committed_and_what_will(
    harness: Harness,
) -> None:
    async with harness.source.connect(None) as stream:
        await harness.insert(1)
        position = await harness.source.insert_position()
        await harness.insert(2)
        before, behind = await receive(stream, 2)

    assert before.position.commit_lsn < position <= behind.position.commit_lsn


async def many_who_ask_for_the_insert_position_at_once_are_told(harness: Harness) -> None:
    positions: list[Lsn] = []

    async def ask() -> None:
        positions.append(await harness.source.insert_position())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)

    assert len(positions) == 50
    assert positions == sorted(positions)


async def what_keeps_nothing_has_no_retention(harness: Harness) -> None:
    async with harness.source.connect(None):
        assert harness.is_durable or harness.source.retention_bytes is None


CONTRACT = [
    what_commits_after_entering_is_received,
    positions_grow_and_say_what_belongs_together,
    a_big_transaction_comes_in_several_chunks,
    a_cancelled_receive_loses_nothing,
    a_stream_that_breaks_is_unavailable_and_another_can_be_had,
    errors_of_the_body_come_out_as_they_are,
    what_commits_while_nobody_streams_is_received_or_announced_as_lost,
    what_was_handed_out_and_not_kept_comes_again_or_is_announced_as_lost,
    what_was_received_half_comes_whole_or_is_announced_as_lost,
    a_gap_is_announced_again_until_it_is_acknowledged,
    what_is_released_does_not_come_again,
    what_is_released_is_no_gap,
    without_a_stream_nothing_is_released,
    what_is_acknowledged_is_confirmed,
    an_insert_position_lies_between_what_committed_and_what_will,
    many_who_ask_for_the_insert_position_at_once_are_told,
    what_keeps_nothing_has_no_retention,
]
