"""One live stream of notifications: gives them positions as they arrive, and makes changes of them when wanted.

Made by `notify`; `notifications` listens, `notified_rows` makes the changes.
Two tasks use it: the listener receives, and `read` runs beside it, so that marks are seen whatever the listener does.

A position has a number in place of an LSN: each transaction has the next one.
Postgres hands notifications out in the order of the commits, so one that we send ourselves, a mark, lies between what
committed before and what will: its number is what an insert position is.

**Invariants**
- Numbers only grow, from one stream to the next, too.
- What was read and not handed out yet survives a cancelled `receive`.
- At most `MAX_WAITING_BYTES` wait here; the rest waits in Postgres, which keeps it for whoever listens.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING

import psycopg
import structlog
import trio
from attrs import define, field

from actors.db.advice import unavailable
from actors.db.functions import CHANNELS
from actors.db.notified_rows import Told
from actors.realtime.change_ports import Chunk
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import Lsn, Position
from protocol.changes.notify import decode_notice
from protocol.errors import MalformedChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.stdlib import BoundLogger

    from actors.db.continuity import Continuity
    from actors.db.notifications import Notifications
    from actors.db.notified_rows import NotifiedRows
    from actors.db.pool import Pool
    from actors.realtime.change_ports import Gap

MAX_CHUNK_CHANGES = 500
MAX_WAITING_BYTES = 8 * 1024 * 1024
#: What a notice takes beside its payload.
NOTICE_BYTES = 512
#: Where marks come by.
MARKS = "troupe_marks"
LISTENED = (*sorted(set(CHANNELS.values())), MARKS)
#: How long a mark may take, in seconds.
MARK_WITHIN_S = 10.0
#: How often unreadable notifications are reported at most, in seconds.
REPORT_EVERY_S = 60.0


@define
class Counter:
    """The number that was given last; it outlives the streams."""

    number: int = 0

    def next(self) -> Lsn:
        self.number += 1
        return Lsn(self.number)


@define(eq=False)
class _Mark:
    """A mark on its way."""

    position: Lsn | None = None
    seen: trio.Event = field(factory=trio.Event)


@define(eq=False)
class NotifyStream:
    """Implements the port `ChangeStream`; `now` returns seconds since 1970-01-01 UTC."""

    _listening: Notifications
    _rows: NotifiedRows
    _continuity: Continuity
    _counter: Counter
    _now: Callable[[], float]
    #: What was read and not handed out, with the size of each.
    _waiting: deque[tuple[Told, int]] = field(factory=deque[tuple[Told, int]], init=False)
    _waiting_bytes: int = field(default=0, init=False)
    _marks: dict[bytes, _Mark] = field(factory=dict[bytes, _Mark], init=False)
    #: The transaction that was read last, 0 if the next change begins another anyway.
    _transaction: int = field(default=0, init=False)
    _position: Position = field(default=Position(Lsn(0), 0), init=False)
    _acknowledged: Lsn = field(default=Lsn(0), init=False)
    _unreadable: int = field(default=0, init=False)
    _reported_at: float | None = field(default=None, init=False)
    _gap: Gap | None = field(init=False)
    _announced: Gap | None = field(default=None, init=False)
    _failure: DatabaseUnavailable | None = field(default=None, init=False)
    _stirred: trio.Event = field(factory=trio.Event, init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    @_gap.default
    def _owed(self) -> Gap | None:
        return self._continuity.owed

    async def receive(self) -> Chunk:
        """Wait for the next changes."""
        while True:
            await trio.lowlevel.checkpoint()
            if self._waiting or self._gap is not None:
                chunk = await self._chunk()
                if chunk.changes or chunk.gap is not None:
                    return chunk
            elif self._failure is not None:
                raise self._failure
            else:
                await self._stirred.wait()

    def acknowledge(self, lsn: Lsn) -> None:
        self._acknowledged = max(self._acknowledged, lsn)
        self._continuity.note_acknowledged(self._announced)
        self._announced = None

    @property
    def confirmed(self) -> Lsn:
        return self._acknowledged

    @property
    def written(self) -> Lsn:
        return Lsn(self._counter.number)

    async def read(self) -> None:
        """Read what arrives until the connection ends."""
        try:
            while True:
                while self._waiting_bytes >= MAX_WAITING_BYTES:
                    await self._stirred.wait()
                for channel, payload in await self._listening.receive():
                    self._take(channel, payload)
                self._report()
                self._stir()
                await trio.lowlevel.checkpoint()
        except psycopg.Error as error:
            self.break_off(unavailable(error))

    def break_off(self, failure: DatabaseUnavailable) -> None:
        """Let the receiver fail once it has what was read."""
        self._failure = failure
        for mark in self._marks.values():
            mark.seen.set()
        self._stir()

    async def mark(self, pool: Pool) -> Lsn:
        """Send a mark and wait for it; return its number, behind which is what commits from now on.

        Raises:
            DatabaseUnavailable: it could not be sent, or did not come.
        """
        name = secrets.token_hex(8)
        mark = self._marks[name.encode()] = _Mark()
        try:
            async with pool.connection() as connection:
                await connection.execute("SELECT pg_notify(%s, %s)", (MARKS, name))
            with trio.move_on_after(MARK_WITHIN_S):
                await mark.seen.wait()
        finally:
            del self._marks[name.encode()]
        if mark.position is None:
            raise DatabaseUnavailable("Notifications of Postgres are late: waiting for them.")
        return mark.position

    def _take(self, channel: str, payload: bytes) -> None:
        if channel == MARKS:
            mark = self._marks.get(payload)
            if mark is not None:
                self._transaction = 0
                mark.position = self._counter.next()
                mark.seen.set()
            return
        try:
            notice = decode_notice(payload)
        except MalformedChange:
            self._unreadable += 1
            return
        if notice.transaction and notice.transaction == self._transaction:
            self._position = Position(self._position.commit_lsn, self._position.index + 1)
        else:
            self._position = Position(self._counter.next(), 0)
        self._transaction = notice.transaction
        at_us = int(self._now() * 1_000_000)
        size_bytes = len(payload) + NOTICE_BYTES
        self._waiting.append((Told(notice, channel, self._position, at_us), size_bytes))
        self._waiting_bytes += size_bytes

    async def _chunk(self) -> Chunk:
        count = min(len(self._waiting), MAX_CHUNK_CHANGES)
        part = [self._waiting[place] for place in range(count)]
        changes = await self._rows.changes([told for told, _ in part]) if part else []
        # Only now, as what comes before may have been cancelled.
        for _ in part:
            self._waiting_bytes -= self._waiting.popleft()[1]
        self._stir()
        # Whether a transaction is over nobody says, so the last one may not be.
        last = Lsn(changes[-1].position.commit_lsn - 1) if changes else self._acknowledged
        chunk = Chunk(tuple(changes), last, self._gap)
        self._announced, self._gap = self._gap or self._announced, None
        return chunk

    def _report(self) -> None:
        """Say that there were notifications that nobody could read, now and then."""
        unreadable = self._unreadable + self._rows.unreadable
        now = trio.current_time()
        if unreadable and (
            self._reported_at is None or now - self._reported_at > REPORT_EVERY_S
        ):
            self._reported_at = now
            self._log.warning("notifications.unreadable", count=unreadable)

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = trio.Event()
