"""A stage without a port: channels, rows and connections of one tenant, played by clients in memory.

`stage(nursery)` starts the supervisors; `Stage.connect` admits a client whose socket is two memory channels.
What a client receives is read by wsproto, so what the server writes is held to be WebSocket frames.
"""

from __future__ import annotations

import json
import math
from collections import deque
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
import trio.testing
from attrs import define, field, frozen
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from actors.core.branch import Branch
from actors.core.mailbox import WeightPool
from actors.core.spec import ChildSpec, Intensity
from actors.core.supervisor import Supervisor
from actors.realtime.alarm_clock import alarm_clock_spec
from actors.realtime.change_feed import ChangeFeed
from actors.realtime.change_ports import Sight
from actors.realtime.changelog import ChangeLog
from actors.realtime.channels import Channels
from actors.realtime.connections import Connections
from actors.realtime.errors import Refused, TokenExpired, Unauthorized
from actors.realtime.listener import DbListener
from actors.realtime.messages import ChannelKey, PresenceKey, RowsKey
from actors.realtime.permissions import ServiceRoleOnly
from actors.realtime.persisting import NoStorage
from actors.realtime.ports import Identity, Opening
from actors.realtime.quota import Quota
from actors.realtime.relay import relay_spec
from actors.realtime.replaying import NoReplay
from actors.realtime.table_rules import TableRules
from actors.realtime.tenant import Limits, Tenant, TenantStatus
from actors.telemetry.metrics import Metrics
from protocol import frames
from protocol.phoenix import PhoenixDialect
from protocol.phoenix.binary import decode_server_frame
from tests.support.memory_database import MemoryDatabase

ROOM = "realtime:room"


class MemoryOutbox:
    """An outbox whose reader never lags; `is_dead` makes it refuse."""

    def __init__(self) -> None:
        self.is_dead = False
        self.messages: deque[str | bytes] = deque()
        self.close_code: int | None = None
        self.pushes = 0
        self.is_in_burst = False
        self._reader = Connection(ConnectionType.CLIENT)

    queued_bytes = 0

    async def wait_drained(self) -> None:
        await trio.lowlevel.checkpoint()

    @staticmethod
    def push_all(pushes) -> int:
        return sum(outbox.push(data) for outbox, data in pushes)

    def push(self, data: bytes) -> bool:
        if self.is_dead or self.close_code is not None:
            return False
        self.pushes += 1
        self._reader.receive_data(data)
        for event in self._reader.events():
            match event:
                case TextMessage() | BytesMessage():
                    assert event.message_finished
                    data_ = event.data
                    self.messages.append(data_ if isinstance(data_, str) else bytes(data_))
                case CloseConnection():
                    self.close_code = event.code
        return True


class MemorySocket:
    """The server's end of a client in memory; implements `ports.Socket`."""

    def __init__(self) -> None:
        self.outbox = MemoryOutbox()
        self.from_client, self._received = trio.open_memory_channel[str | bytes](1000)
        self.farewell = bytes
        self.is_closing = False
        self._receiver = None
        self._may_go_on = trio.Event()

    def tell_if_slow(self, farewell) -> None:
        self.farewell = farewell

    async def hand_to(self, receiver) -> None:
        self._receiver = receiver
        self._may_go_on.set()

    async def resume(self) -> None:
        self._may_go_on.set()

    async def feed(self) -> None:
        """Hand what the client sends to the receiver, as whoever reads a real socket does."""
        await self._may_go_on.wait()
        async for message in self._received:
            has_more = self._received.statistics().current_buffer_used > 0
            self.outbox.is_in_burst = self.outbox.is_in_burst or has_more
            if self.is_closing:
                continue
            try:
                is_done = self._receiver.take(message)
                self.outbox.is_in_burst = is_done and has_more
                if is_done:
                    continue
            except Exception as error:  # noqa: BLE001  # charged, as by whoever reads a real socket
                self._receiver.fail(error)
                return
            self._may_go_on = trio.Event()
            await self._may_go_on.wait()
        self._receiver.note_end(1005)

    async def close(self, code, reason="") -> None:
        self.is_closing = True
        self.outbox.push(frames.close(code, reason))
        await trio.lowlevel.checkpoint()


@frozen
class Message:
    """One message of the server, whatever it came as; `payload` of a binary one is bytes."""

    join_ref: Any
    ref: Any
    topic: str
    event: str
    payload: Any

    @property
    def response(self):
        return self.payload["response"]


def read_message(version: str, data: str | bytes) -> Message:
    """Return what a client of that version understands."""
    if isinstance(data, bytes):
        frame = decode_server_frame(data)
        payload = frame.message
        return Message(None, None, frame.topic, payload.event, payload.payload)
    value = json.loads(data)
    if version == "1.0.0":
        assert set(value) == {"topic", "event", "payload", "ref"}
        return Message(None, value["ref"], value["topic"], value["event"], value["payload"])
    return Message(*value)


class Client:
    """A client in memory."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.socket = MemorySocket()
        self._refs = iter(range(1, 1_000_000))

    @asynccontextmanager
    async def open_socket(self):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.socket.feed)
            yield self.socket
            nursery.cancel_scope.cancel()
        self.socket.outbox.close_code = self.socket.outbox.close_code or 1006

    def send_raw(self, data: str | bytes) -> None:
        """Send one frame as it is."""
        self.socket.from_client.send_nowait(data)

    def push(self, event, payload=None, topic=ROOM, *, join_ref=None, ref=None) -> str:
        """Send a push and return its ref."""
        ref = ref or str(next(self._refs))
        payload = {} if payload is None else payload
        if self.version == "2.0.0":
            self.send_raw(json.dumps([join_ref, ref, topic, event, payload]))
        else:
            keys = {"topic": topic, "event": event, "payload": payload, "ref": ref}
            self.send_raw(json.dumps({**keys, "join_ref": join_ref}))
        return ref

    def join(self, topic=ROOM, *, join_ref=None, token=None, **config) -> str:
        """Send a join, whose join_ref is its ref, and return that."""
        ref = join_ref or str(next(self._refs))
        payload = {"config": config}
        if token is not None:
            payload["access_token"] = token
        return self.push("phx_join", payload, topic, join_ref=ref, ref=ref)

    def broadcast(self, payload, topic=ROOM, *, event="e") -> str:
        """Send a text broadcast and return its ref."""
        body = {"type": "broadcast", "event": event, "payload": payload}
        return self.push("broadcast", body, topic)

    def track(self, payload, topic=ROOM, **refs) -> str:
        """Send a track and return its ref."""
        body = {"type": "presence", "event": "track", "payload": payload}
        return self.push("presence", body, topic, **refs)

    def untrack(self, topic=ROOM, **refs) -> str:
        """Send an untrack and return its ref."""
        return self.push("presence", {"type": "presence", "event": "untrack"}, topic, **refs)

    def leave_socket(self) -> None:
        """Go without a word."""
        self.socket.from_client.close()

    async def received(self) -> list[Message]:
        """Return what came, once everybody is blocked."""
        await trio.testing.wait_all_tasks_blocked()
        return self.received_nowait()

    def received_nowait(self) -> list[Message]:
        """Return what came so far."""
        messages = self.socket.outbox.messages
        found = [read_message(self.version, data) for data in messages]
        messages.clear()
        return found

    async def joined(self, topic=ROOM, **config) -> str:
        """Join, expect to be let in, and return the join_ref; what else comes with it is dropped."""
        ref = self.join(topic, **config)
        messages = await self.received()
        assert [m.payload["status"] for m in messages if m.ref == ref] == ["ok"]
        return ref


def fake_token(role="anon", *, expires_at=1e12, sub="") -> str:
    """Return a token that the fake verifier takes; `expires_at` is a time of trio's clock."""
    return f"{role} {sub} {expires_at!r}"


class FakeVerifier:
    """Takes what `fake_token` makes, and for short a role's name; anything else is no token.

    `refused` are tokens that are not good any more although they have not expired: their key is gone.
    `slow_s` are tokens that take so many seconds.
    """

    ROLES = ("anon", "authenticated", "service_role")

    def __init__(self) -> None:
        self.refused: dict[str, Refused] = {}
        self.verified: list[str] = []
        self.slow_s: dict[str, float] = {}
        self._gate = trio.Event()
        self._gate.set()

    def hold(self) -> None:
        """Let tokens wait, as if their key had to be fetched."""
        self._gate = trio.Event()

    def release(self) -> None:
        """Verify what waits."""
        self._gate.set()

    async def verify(self, token: str) -> Identity:
        self.verified.append(token)
        await self._gate.wait()
        if token in self.slow_s:
            await trio.sleep(self.slow_s[token])
        if token in self.refused:
            raise self.refused[token]
        role, sub, expires_at = self._parts(token)
        if role not in self.ROLES:
            raise Unauthorized("MalformedJWT", "The token provided is not a valid JWT")
        if expires_at <= trio.current_time():
            raise TokenExpired(math.floor(trio.current_time() - expires_at))
        return Identity(role, json.dumps({"sub": sub}).encode(), expires_at, token, sub)

    def _parts(self, token: str):
        match token.split(" "):
            case [role, sub, expires_at]:
                return role, sub, float(expires_at)
            case [role]:
                return role, "", 1e12
        return "", "", 1e12

    def seconds_left(self, identity: Identity) -> float:
        return identity.expires_at - trio.current_time()


class FakeVisibility:
    """Shows every column to every role unless told otherwise; can be held, and can fail.

    `asked` has the number of changes of each call, counted once for each identity that asks.
    """

    def __init__(self) -> None:
        self.hidden_from: set[str] = set()
        self.hidden_columns: set[str] = set()
        self.fault: str | None = None
        self.asked: list[int] = []
        self.errors: deque[Exception] = deque()
        self._gate = trio.Event()
        self._gate.set()

    def hold(self) -> None:
        """Let questions wait."""
        self._gate = trio.Event()

    def release(self) -> None:
        """Answer what waits."""
        self._gate.set()

    async def check(self, questions):
        await trio.lowlevel.checkpoint()
        self.asked.append(sum(len(question.changes) for question in questions))
        await self._gate.wait()
        if self.errors:
            raise self.errors.popleft()
        return [
            {}
            if question.identity.role in self.hidden_from
            else {change: self._sight(change) for change in question.changes}
            for question in questions
        ]

    def _sight(self, change):
        if self.fault is not None:
            return Sight(frozenset(), fault=self.fault)
        names = {column.name for column in change.table.relation.columns}
        return Sight(frozenset(names - self.hidden_columns))


@define
class Stage:
    """Everything a test looks at."""

    channels_supervisor: Supervisor
    connections_supervisor: Supervisor
    tenant: Tenant
    channels: Channels
    connections: Connections
    feed: ChangeFeed
    visibility: FakeVisibility
    database: MemoryDatabase
    verifier: FakeVerifier
    metrics: Metrics
    root: Supervisor
    clocks: Supervisor
    reports: list = field(factory=list)

    def connect(
        self,
        version="2.0.0",
        role="anon",
        expires_at=1e12,
        headers=b"{}",
        dialect=None,
        sub="",
        verifier=None,
    ) -> Client:
        """Admit a client; its token expires at that time of the trio clock."""
        client = Client(version)
        token = fake_token(role, expires_at=expires_at, sub=sub)
        identity = Identity(role, json.dumps({"sub": sub}).encode(), expires_at, token, sub)
        opening = Opening(
            dialect or PhoenixDialect(version),
            identity,
            "192.0.2.1",
            client.open_socket,
            headers,
            verifier,
        )
        self.connections.admit(opening)
        return client

    def channel(self, sub_topic="room", *, private=False):
        """Return the ref of a channel."""
        return self.channels_supervisor.find(ChannelKey("test", private, sub_topic))

    def rows(self, sub_topic="room"):
        """Return the ref of a rows actor."""
        return find_rows(self.channels_supervisor, ChannelKey("test", False, sub_topic))

    def presence(self, sub_topic="room", *, private=False):
        """Return the ref of a presence actor."""
        key = ChannelKey("test", private, sub_topic)
        channel = self.channels_supervisor.find(key)
        return channel and self.channels_supervisor.find(PresenceKey(key, channel))

    def poison(self, ref) -> None:
        """Queue a message that crashes the actor."""
        assert self.channels_supervisor.poison(ref)


def find_rows(supervisor, key: ChannelKey):
    """Return the ref of the rows actor beside the channel of that key."""
    channel = supervisor.find(key)
    return None if channel is None else supervisor.find(RowsKey(key, channel))


class Heirless(Channels):
    """Channels that forget their subscribers when they crash: what the heir is good for."""

    def channel_spec(self, key):
        spec = super().channel_spec(key)
        fresh = super().channel_spec
        return ChildSpec(
            name=spec.name, factory=lambda: fresh(key).factory(), rank=spec.rank, capacity=4096
        )


@asynccontextmanager
async def open_stage(
    *,
    limits=None,
    quota=None,
    source=None,
    database=None,
    log_bytes=1 << 20,
    window_s=1e9,
    channels_type=Channels,
    presence_enabled=False,
    verifier=None,
    policies=None,
    replays=None,
    storage=None,
    tables=None,
):
    """Run a stage for the length of a `with` block; `source` is followed by a listener if there is one."""
    reports: list = []
    metrics = Metrics()
    visibility = FakeVisibility()

    def supervisor(restarts=5):
        return Supervisor(
            random=Random(1), observe=reports.append, intensity=Intensity(restarts, 60.0)
        )

    channels_supervisor, connections_supervisor = supervisor(), supervisor()
    clocks = supervisor(restarts=math.inf)
    database = database or MemoryDatabase()
    log = ChangeLog(log_bytes, window_s)
    feed = ChangeFeed(
        log, visibility, source, database, database, tables=tables or TableRules()
    )
    quota = Quota(quota)
    pool = WeightPool(1 << 30)
    channels = channels_type(channels_supervisor, feed, quota, metrics, pool)
    verifier = verifier or FakeVerifier()
    tenant = Tenant(
        "test",
        verifier,
        channels,
        feed,
        limits or Limits(),
        quota,
        TenantStatus(is_presence_enabled=presence_enabled),
        policies or ServiceRoleOnly(),
        replays or NoReplay(),
        storage or NoStorage(),
        random=Random(1),
    )
    connections = Connections(connections_supervisor, tenant, metrics, grace_s=5.0)
    specs = [
        ChildSpec("channels", lambda: Branch(channels_supervisor), 0),
        *([relay_spec(tenant, metrics)] if source else []),
        *(
            [ChildSpec("listener", lambda: DbListener(source, feed, Random(1), metrics), 3)]
            if source
            else []
        ),
        ChildSpec("alarms", lambda: Branch(clocks, (alarm_clock_spec(tenant.alarms),)), 0),
        ChildSpec("connections", lambda: Branch(connections_supervisor), 0, stop_within=9.0),
    ]
    async with trio.open_nursery() as nursery:
        root = supervisor(restarts=1000)

        async def run(task_status):
            await root.run(*specs, task_status=task_status)

        await nursery.start(run)
        yield Stage(
            channels_supervisor,
            connections_supervisor,
            tenant,
            channels,
            connections,
            feed,
            visibility,
            database,
            verifier,
            metrics,
            root,
            clocks,
            reports,
        )
        nursery.cancel_scope.cancel()
