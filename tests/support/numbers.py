"""The numbers 1, 2, 3, … as rows: one task writes them, many clients hear them, and nobody may miss or repeat one."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import psycopg
import trio

from actors.auth.tokens import mint
from actors.db.driver import connect
from actors.settings import DEVELOPMENT_SECRET
from tests.support.memory_tenant import read_message
from tests.support.websocket import Closed, open_websocket

if TYPE_CHECKING:
    from random import Random

    from actors.db.driver import TrioConnection

SCHEMA = (
    "create table numbers (n int primary key)",
    "create publication supabase_realtime for table numbers",
    "do $$ begin create role anon; exception when duplicate_object then null; end $$",
    "grant usage on schema public to anon",
    "grant select on numbers to anon",
)
INSERT = "insert into numbers select n from generate_series(%s::int, %s::int) n on conflict do nothing"
BINDING = {"event": "INSERT", "schema": "public", "table": "numbers"}
AGAIN_S = 0.02


class NumberWriter:
    """Inserts the numbers in order, each in one transaction with few or many others.

    A transaction whose outcome the server did not tell is tried again: it inserts what is not there.
    """

    insert = INSERT

    def __init__(self, conninfo: str, rng: Random, sizes: tuple[int, ...]) -> None:
        self._conninfo = conninfo
        self._rng = rng
        self._sizes = sizes
        self._connection: TrioConnection | None = None
        #: The first and last number of the transaction that was begun last, None once it is known to be committed.
        self._begun: tuple[int, int] | None = None
        #: The last number that is known to have been committed.
        self.committed = 0
        #: Transactions whose outcome was unknown at first, and that had in fact been committed.
        self.found_committed = 0

    async def write(self, pause_s: float) -> None:
        """Write until cancelled, `pause_s` seconds between two transactions."""
        while True:
            await self.commit(self._rng.choice(self._sizes))
            await trio.sleep(pause_s)

    async def commit(self, count: int) -> None:
        """Commit the next `count` numbers, however long the server is away.

        Cancelled, it leaves the transaction to the next call, which brings that to its end first.
        """
        await self.settle()
        self._begun = self.committed + 1, self.committed + count
        await self.settle()

    async def settle(self) -> None:
        """Bring to its end what was begun, so that `committed` says all."""
        if self._begun is None:
            return
        first, last = self._begun
        while (inserted := await self._insert(first, last)) is None:  # noqa: ASYNC110  # nobody tells us
            await trio.sleep(AGAIN_S)
        assert inserted in {last - first + 1, 0}, (
            "a transaction is committed whole or not at all"
        )
        self.found_committed += not inserted
        self.committed, self._begun = last, None

    async def _insert(self, first: int, last: int) -> int | None:
        """Return how many rows were inserted, None if that is unknown."""
        try:
            if self._connection is None:
                self._connection = await connect(self._conninfo)
            cursor = await self._connection.execute(self.insert, (first, last))
        except psycopg.OperationalError:
            self.close()
            return None
        finally:
            if self._connection is not None and self._connection.closed:
                self._connection = None
        return cursor.rowcount

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.discard()
            self._connection = None


class Follower:
    """A client that joins one topic and holds what it hears against 1, 2, 3, …; `on_wrong` is told once."""

    def __init__(self, topic: str, version: str, on_wrong) -> None:
        self.topic = topic
        self.version = version
        self.last = 0
        #: The first thing that should not have happened.
        self.wrong: str | None = None
        #: What `system` messages said, without repetitions in a row.
        self.notices: list[str] = []
        self.is_subscribed = trio.Event()
        self._on_wrong = on_wrong
        self._waiting: list[tuple[int, trio.Event]] = []

    async def follow(self, port: int) -> None:
        """Connect, join and listen until the connection ends, which is wrong."""
        try:
            async with open_websocket(port, target(self.version)) as socket:
                await socket.send(self.join())
                while True:
                    self._note(read_message(self.version, await socket.receive()))
        except Closed as closed:
            self.complain(str(closed))

    def join(self) -> str:
        """Return the join of this client."""
        return join(self.version, self.topic, BINDING)

    async def wait_heard(self, number: int) -> None:
        """Wait until this client has heard the number."""
        if self.last < number:
            heard = trio.Event()
            self._waiting.append((number, heard))
            await heard.wait()

    def _note(self, message) -> None:
        match message.event:
            case "postgres_changes":
                self._count(message.payload["data"]["record"]["n"])
            case "system":
                self.notices.append(message.payload["message"])
                self.is_subscribed.set()
            case "phx_reply":
                if message.payload["status"] != "ok":
                    self.complain(f"was refused: {message.payload}")
            case _:
                self.complain(f"got {message.event}")

    def _count(self, number: int) -> None:
        if number != self.last + 1:
            verb = "misses" if number > self.last else "repeats"
            self.complain(f"{verb} rows: {number} after {self.last}")
        self.last = number
        for waiting in tuple(self._waiting):
            if number >= waiting[0]:
                waiting[1].set()
                self._waiting.remove(waiting)

    def complain(self, what: str) -> None:
        """Note what should not have happened."""
        if self.wrong is None:
            self.wrong = f"{self.topic} ({self.version}) {what}"
            self._on_wrong()


def target(version: str, role: str = "anon") -> str:
    """Return the path of the WebSocket for a client with a key of the development secret."""
    key = mint(DEVELOPMENT_SECRET, role, time.time() + 3600)  # noqa: TID251
    return f"/realtime/v1/websocket?apikey={key}&vsn={version}"


def join(version: str, sub_topic: str, binding: dict[str, str], ref: str = "1") -> str:
    """Return a join that asks for row changes."""
    return push(
        version, sub_topic, "phx_join", {"config": {"postgres_changes": [binding]}}, ref
    )


def leave(version: str, sub_topic: str, ref: str = "1") -> str:
    """Return the end of the join with that ref."""
    return push(version, sub_topic, "phx_leave", {}, ref)


def push(version: str, sub_topic: str, event: str, payload: object, ref: str) -> str:
    """Return a push, whose join_ref is its ref."""
    topic = f"realtime:{sub_topic}"
    if version == "2.0.0":
        return json.dumps([ref, ref, topic, event, payload])
    body = {"topic": topic, "event": event, "payload": payload, "ref": ref}
    return json.dumps({**body, "join_ref": ref})
