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
    from actors.realtime.ports import ChangeSource, ChangeStream
    from protocol.changes.model import Change

MAX_CHUNK_CHANGES = 500


class Harness(Protocol):
    """A source, and what a test does to the database behind it."""

    source: ChangeSource

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
        chunk = await stream.receive()
        assert 0 < len(chunk.changes) <= MAX_CHUNK_CHANGES
        changes.extend(chunk.changes)
        stream.acknowledge(chunk.acknowledged)
    return changes


def ids(changes: list[Change]) -> list[int]:
    return [int(change.new[0]) for change in changes]


async def what_commits_after_entering_is_received(harness: Harness) -> None:
    await harness.insert(1)
    async with harness.source.connect() as stream:
        await harness.insert(2)
        await harness.insert(3, 4)
        changes = await receive(stream, 3)

    assert ids(changes) == [2, 3, 4]
    assert {change.kind for change in changes} == {Kind.INSERT}


async def positions_grow_and_say_what_belongs_together(harness: Harness) -> None:
    async with harness.source.connect() as stream:
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
    async with harness.source.connect() as stream:
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
    async with harness.source.connect() as stream:
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
    async with harness.source.connect() as stream:
        await harness.break_off()
        with pytest.raises(Unavailable) as caught:
            await receive(stream, 1)
    assert caught.value.advice

    async with harness.source.connect() as stream:
        await harness.insert(1)
        assert ids(await receive(stream, 1)) == [1]


async def errors_of_the_body_come_out_as_they_are(harness: Harness) -> None:
    with pytest.raises(KeyError):
        async with harness.source.connect():
            raise KeyError


CONTRACT = [
    what_commits_after_entering_is_received,
    positions_grow_and_say_what_belongs_together,
    a_big_transaction_comes_in_several_chunks,
    a_cancelled_receive_loses_nothing,
    a_stream_that_breaks_is_unavailable_and_another_can_be_had,
    errors_of_the_body_come_out_as_they_are,
]
