"""Stored broadcasts in memory: what is sent is stored first, as a database does it."""

from __future__ import annotations

import json
from uuid import UUID

import trio
from attrs import define, field

from protocol.changes.stored import StoredBroadcast, stored_message
from tests.support.source import MemorySource


@define(eq=False)
class MemoryReplays:
    """Implements `stored_ports.ReplayStore`, and `stored_ports.BroadcastStorage` by its `MemoryStorage`.

    What it answers is as of the moment when it was asked.
    `errors` are raised in turn; `hold` lets questions wait for `release`.
    """

    source: MemorySource = field(factory=MemorySource)
    errors: list[Exception] = field(factory=list)
    stored: list[tuple[int, StoredBroadcast]] = field(factory=list, init=False)
    asked: list = field(factory=list, init=False)
    ttls: list = field(factory=list, init=False)
    _gate: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self):
        self._gate.set()

    def hold(self) -> None:
        self._gate = trio.Event()

    def release(self) -> None:
        self._gate.set()

    def store(self, number: int, *, data=None, topic="room", at_ms=1000) -> str:
        """Store a broadcast of a private topic without sending it; return its id."""
        row_id = str(UUID(int=number))
        text = json.dumps({"n": number}) if data is None else None
        hexadecimal = None if data is None else data.hex()
        message = stored_message(row_id, "e", text, hexadecimal, replayed=True)
        self.stored.append((at_ms, StoredBroadcast(row_id, topic, True, message)))
        return row_id

    def send(self, number: int, *, data=None, topic="room", at_ms=1000) -> None:
        """Store a broadcast, and let it stream in."""
        row_id = self.store(number, data=data, topic=topic, at_ms=at_ms)
        payload = json.dumps({"n": number})
        self.source.send(
            {
                "payload": payload,
                "data": data,
                "topic": topic,
                "private": True,
                "row_id": row_id,
            }
        )

    async def newest(self, question):
        self.asked.append(question)
        await trio.lowlevel.checkpoint()
        found = [
            one
            for at_ms, one in self.stored
            if at_ms >= question.since_ms and one.sub_topic == question.sub_topic
        ][-question.limit :]
        await self._gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return found

    async def store_broadcast(self, storage):
        await trio.lowlevel.checkpoint()
        await self._gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        message, topic = storage.message, storage.question.sub_topic
        self.ttls.append(storage.ttl_s)
        text = None if message.is_binary else message.payload.decode()
        self.source.send(
            {
                "payload": text,
                "data": message.payload if message.is_binary else None,
                "event": message.event,
                "topic": topic,
                "private": True,
                "row_id": storage.row_id,
            }
        )


class MemoryStorage:
    """The storage side of a `MemoryReplays`."""

    def __init__(self, replays: MemoryReplays) -> None:
        self.store = replays.store_broadcast
