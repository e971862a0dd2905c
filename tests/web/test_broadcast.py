"""Broadcasts over HTTP as their senders and the members of a topic see them: the tables of spec 1.4, 4.2 and 4.3.

Real bytes over memory sockets, real channels, members in memory, the virtual clock.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from actors.realtime.channels import Channels
from actors.realtime.errors import PolicyUndecided
from actors.realtime.managed_channels import ManagedChannel
from actors.realtime.permissions import EVERYTHING
from actors.realtime.posting import Poster
from actors.realtime.quota import QuotaLimits
from actors.realtime.tenant import Limits
from actors.web.app import site
from actors.web.bodies import BodyBudget
from actors.web.broadcast import BroadcastApi
from actors.web.request_rate import RequestRate
from protocol.managed import ChannelConfig
from protocol.phoenix.persist import BAD_PERSIST, BAD_TTL
from protocol.phoenix.rest import TOO_LARGE
from tests.support.memory_tenant import open_stage
from tests.support.policies import NOTHING, FakePolicies
from tests.support.web import start_port

LIMITS = Limits(payload_bytes=100, park_s=5.0)
BATCH = "/api/broadcast"
SINGLE = "/api/broadcast/room/events/mv"
ROOM = "realtime:room"
MESSAGE = {"topic": "room", "event": "mv", "payload": {"x": 1}}
JSON_TYPE = "content-type: application/json"
BYTES_TYPE = "content-type: application/octet-stream"
ANON = "apikey: anon"
SERVICE = "authorization: Bearer service_role"


async def refuse(_request):
    raise AssertionError("nobody asks for a WebSocket here")


class GatedChannels(Channels):
    """Channels that take one message more while `held`, and then no further one."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self._gate = trio.Event()
        self._gate.set()

    @contextmanager
    def held(self):
        self._gate = trio.Event()
        yield
        self._gate.set()

    def channel_spec(self, key):
        spec = super().channel_spec(key)

        def factory():
            actor = spec.factory()
            handle = actor._handle

            async def handle_when_open(message, inbox):
                await self._gate.wait()
                await handle(message, inbox)

            actor._handle = handle_when_open
            return actor

        return evolve(spec, factory=factory, capacity=1, stop_within=1.0)


class Api:
    """A port before a stage."""

    def __init__(self, stage, port, bodies) -> None:
        self.stage = stage
        self.bodies = bodies
        self.port = port

    async def request(self, method, path, body=b"", *headers):
        """Send a request on a connection of its own and return the response."""
        return await (await self.begin(method, path, body, *headers)).response()

    async def begin(self, method, path, body=b"", *headers):
        """Send a request; return the client, which may wait for the response."""
        client = self.port.connect()
        lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}"]
        head = "\r\n".join([*lines, *headers]) + "\r\n\r\n"
        await client.send(head.encode() + body)
        return client

    async def post(self, path, body=b"", *headers):
        return await self.request("POST", path, body, *(headers or (JSON_TYPE, ANON)))

    async def post_batch(self, *messages, key=ANON):
        body = json.dumps({"messages": messages}).encode()
        return await self.post(BATCH, body, JSON_TYPE, key)


@asynccontextmanager
async def open_api(*, channels_type=Channels, body_bytes=1 << 20, per_second=0, policies=None):
    async with (
        open_stage(
            limits=LIMITS,
            quota=QuotaLimits(max_events_per_second=per_second),
            channels_type=channels_type,
            policies=policies,
        ) as stage,
        trio.open_nursery() as nursery,
    ):
        bodies = BodyBudget(body_bytes)
        poster = Poster(stage.tenant, stage.metrics)
        rate = RequestRate(stage.tenant.quota)
        routes = BroadcastApi(stage.tenant.verifier, poster, bodies, rate).routes()
        port = await start_port(nursery, site(supabase=refuse, api=routes).application)
        yield Api(stage, port, bodies)
        assert bodies.held_bytes == 0
        nursery.cancel_scope.cancel()


def raw(client) -> list[str | bytes]:
    """Return what a member was sent since the last look, as it was sent."""
    messages = list(client.socket.outbox.messages)
    client.socket.outbox.messages.clear()
    return messages


async def members(api, topic=ROOM, **config):
    """Return a joined member of either version."""
    role = "service_role" if config.get("private") else "anon"
    joined = [api.stage.connect(version, role) for version in ("1.0.0", "2.0.0")]
    for member in joined:
        await member.joined(topic, **config)
    return joined


def said(response):
    return response.status, json.loads(response.body) if response.body else None


class TestWhatMembersReceive:
    async def test_a_batch_comes_as_text(self, autojump_clock):
        async with open_api() as api:
            old, new = await members(api)

            body = b'{"messages":[{"topic":"room","event":"mv","payload":{"x": 1.0},"id":"7"}]}'
            response = await api.post(BATCH, body)

            payload = '{"type":"broadcast","event":"mv","payload":{"x": 1.0},"meta":{"id":"7"}}'
            assert (response.status, response.body) == (202, b"")
            assert raw(old) == [
                f'{{"ref":null,"topic":"{ROOM}","event":"broadcast","payload":{payload}}}'
            ]
            assert raw(new) == [f'[null,null,"{ROOM}","broadcast",{payload}]']

    @pytest.mark.parametrize(
        "content_type", [JSON_TYPE, "content-type: Application/JSON; charset=utf-8", "x-no: 1"]
    )
    async def test_json_comes_as_kind_4_or_as_text(self, autojump_clock, content_type):
        async with open_api() as api:
            old, new = await members(api)

            response = await api.post(SINGLE, b'{"x": 1.0}', content_type, ANON)

            payload = '{"event":"mv","payload":{"x": 1.0},"type":"broadcast"}'
            assert (response.status, response.body) == (202, b"")
            assert raw(old) == [
                f'{{"ref":null,"topic":"{ROOM}","event":"broadcast","payload":{payload}}}'
            ]
            assert raw(new) == [b"\x04\x0d\x02\x00\x01" + ROOM.encode() + b'mv{"x": 1.0}']

    async def test_bytes_come_as_kind_4_or_not_at_all(self, autojump_clock):
        async with open_api() as api:
            old, new = await members(api)

            response = await api.post(SINGLE, b"\xff\x00", BYTES_TYPE, ANON)

            assert (response.status, response.body) == (202, b"")
            assert raw(old) == []
            assert raw(new) == [b"\x04\x0d\x02\x00\x00" + ROOM.encode() + b"mv\xff\x00"]

    async def test_what_is_no_object_is_put_into_one(self, autojump_clock):
        async with open_api() as api:
            old, _new = await members(api)

            await api.post(SINGLE, b"[1]")

            (message,) = await old.received()
            assert message.payload["payload"] == {"_json": [1]}

    @pytest.mark.parametrize(
        ("path", "sub_topic", "event"),
        [
            ("a%2Fb/events/c%2Fd", "a/b", "c/d"),
            ("caf%C3%A9%20%F0%9F%8E%AD/events/%25", "café 🎭", "%"),
            ("a:b+c/events/events", "a:b+c", "events"),
            ("events/events/x", "events", "x"),
            ("%2F/events/%2e%2e", "/", ".."),
            ("a%0Ab/events/c%0A", "a\nb", "c\n"),
        ],
    )
    async def test_topic_and_event_are_decoded_once(
        self, autojump_clock, path, sub_topic, event
    ):
        async with open_api() as api:
            for prefix in (BATCH, "/realtime/v1/api/broadcast"):
                old, _new = await members(api, f"realtime:{sub_topic}")

                response = await api.post(f"{prefix}/{path}?apikey=anon&vsn=2.0.0", b"{}")

                (message,) = await old.received()
                assert response.status == 202
                assert message.topic == f"realtime:{sub_topic}"
                assert message.payload["event"] == event

    async def test_public_ones_go_first_then_private_ones_by_topic(self, autojump_clock):
        async with open_api() as api:
            public = (await members(api))[0]
            private = {
                name: (await members(api, f"realtime:{name}", private=True))[0]
                for name in ("a", "b")
            }

            response = await api.post_batch(
                {**MESSAGE, "topic": "b", "event": "1", "private": True},
                {**MESSAGE, "event": "2"},
                {**MESSAGE, "topic": "a", "event": "3", "private": True},
                {**MESSAGE, "topic": "b", "event": "4", "private": True},
                {**MESSAGE, "event": "5"},
                key=SERVICE,
            )

            heard = [
                [message.payload["event"] for message in await member.received()]
                for member in (public, private["a"], private["b"])
            ]
            assert response.status == 202
            assert heard == [["2", "5"], ["3"], ["1", "4"]]

    async def test_private_members_hear_no_public_ones_and_the_reverse(self, autojump_clock):
        async with open_api() as api:
            (public, _), (private, _) = await members(api), await members(api, private=True)

            await api.post(f"{SINGLE}?private=true", b"{}", SERVICE)
            assert [raw(public), len(raw(private))] == [[], 1]
            await api.post(f"{SINGLE}?private=TRUE", b"{}", SERVICE)
            assert [len(raw(public)), raw(private)] == [1, []]


def gated_api():
    return open_api(channels_type=GatedChannels)


class TestChannels:
    async def test_a_topic_that_nobody_has_joined_gets_no_channel(self, autojump_clock):
        async with open_api() as api:
            batch = await api.post_batch(MESSAGE, {**MESSAGE, "private": True}, key=SERVICE)
            single = await api.post(SINGLE, b"{}")

            assert (batch.status, single.status) == (202, 202)
            assert api.stage.channels_supervisor.children() == ()

    async def test_a_full_channel_is_waited_for(self, autojump_clock):
        async with gated_api() as api:
            old, _new = await members(api)
            with api.stage.channels.held():
                clients = [await api.begin("POST", SINGLE, b"%d" % n, ANON) for n in range(3)]
                await trio.sleep(LIMITS.park_s - 1)
                assert raw(old) == []

            statuses = [(await client.response()).status for client in clients]
            heard = [message.payload["payload"] for message in await old.received()]
            assert statuses == [202] * 3
            assert sorted(one["_json"] for one in heard) == [0, 1, 2]

    async def test_a_channel_that_stays_full_is_an_answer(self, autojump_clock):
        async with gated_api() as api:
            (room, _), (other, _) = await members(api), await members(api, "realtime:other")
            start = trio.current_time()
            with api.stage.channels.held():
                # The first is in hand, the second in the mailbox, and nothing has become of the fourth.
                response = await api.post_batch(*[MESSAGE] * 3, {**MESSAGE, "topic": "other"})

            assert said(response) == (
                503,
                {"message": "The channel is too busy: 2 broadcasts of 4 were accepted"},
            )
            assert response.headers["retry-after"] == "1"
            assert trio.current_time() - start == LIMITS.park_s
            assert [len(await room.received()), await other.received()] == [2, []]
            rendered = api.stage.metrics.render()
            assert b'broadcasts_dropped_total{reason="channel_busy"} 2.0' in rendered
            assert b"broadcasts_accepted_total 2.0" in rendered

    async def test_a_channel_that_ends_while_it_is_waited_for_is_one_that_nobody_has_joined(
        self, autojump_clock
    ):
        async with gated_api() as api:
            await members(api)
            channel = api.stage.channel()
            with api.stage.channels.held():
                client = await api.begin(
                    "POST", BATCH, json.dumps({"messages": [MESSAGE] * 3}).encode(), ANON
                )
                await wait_all_tasks_blocked()
                await api.stage.channels_supervisor.stop_child(channel)

                assert (await client.response()).status == 202


class TestPermission:
    async def test_a_batch_drops_what_is_denied_without_a_word(self, autojump_clock):
        async with open_api() as api:
            (public, _), (private, _) = await members(api), await members(api, private=True)

            response = await api.post_batch({**MESSAGE, "private": True}, MESSAGE)

            assert (response.status, response.body) == (202, b"")
            assert [len(raw(public)), raw(private)] == [1, []]

    async def test_a_single_one_that_is_denied_is_told(self, autojump_clock):
        async with open_api() as api:
            private, _ = await members(api, private=True)

            response = await api.post(f"{SINGLE}?private=true", b"{}")

            assert said(response) == (403, {"message": "Unauthorized"})
            assert raw(private) == []

    async def test_a_policy_is_asked_once_per_topic(self, autojump_clock):
        policies = FakePolicies(write={"a": EVERYTHING, "b": NOTHING})
        async with open_api(policies=policies) as api:
            allowed, _ = await members(api, "realtime:a", private=True)
            denied, _ = await members(api, "realtime:b", private=True)
            private = {**MESSAGE, "private": True}

            await api.post_batch(*[{**private, "topic": t} for t in "abab"], MESSAGE)

            assert sorted(policies.asked_to_write) == [("anon", "a"), ("anon", "b")]
            assert [len(await allowed.received()), await denied.received()] == [2, []]

    async def test_a_policy_sees_the_headers_of_the_request(self, autojump_clock):
        policies = FakePolicies()
        async with open_api(policies=policies) as api:
            await api.post(f"{SINGLE}?private=true", b"{}", JSON_TYPE, ANON, "x-room: blue")

            assert json.loads(policies.headers[-1])["x-room"] == "blue"

    @pytest.mark.parametrize(
        ("code", "answer"),
        [
            ("Unauthorized", (422, {"message": "RLS policy error"})),
            ("QueryCanceled", (422, {"message": "Query canceled"})),
            ("MissingPartition", (422, {"message": "Missing messages partition"})),
            ("UnableToConnectToProject", (422, {"message": "Tenant database unavailable"})),
            ("IncreaseConnectionPool", (429, {"message": "Connection pool exhausted"})),
        ],
    )
    async def test_a_policy_that_cannot_be_asked_is_no_permission(
        self, autojump_clock, code, answer
    ):
        policies = FakePolicies(write_fault=PolicyUndecided(code, "why"))
        async with open_api(policies=policies) as api:
            private, _ = await members(api, private=True)

            response = await api.post(f"{SINGLE}?private=true", b"{}")
            batch = await api.post_batch({**MESSAGE, "private": True})

            assert said(response) == answer
            assert (batch.status, batch.body) == (202, b"")
            assert raw(private) == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            (["apikey: anon"], 202),
            (["authorization: Bearer anon"], 202),
            (["authorization: bEARER anon", "apikey: nobody"], 202),
            ([], 401),
            (["apikey: nobody"], 401),
            (["authorization: Bearer nobody", "apikey: anon"], 401),
            # Upstream answers 500 to each of these.
            (["authorization: anon", "apikey: anon"], 401),
            (["authorization: Bearer  anon", "apikey: anon"], 401),
            (["authorization: Bearer anon ", "apikey: anon"], 202),  # HTTP strips the blank
            (["authorization: Bearer", "apikey: anon"], 401),
            (["authorization:", "apikey: anon"], 401),
            (["authorization: Basic anon", "apikey: anon"], 401),
            (["authorization: Bearer anon", "authorization: Bearer nobody"], 202),
        ],
    )
    async def test_the_bearer_token_counts_and_else_the_key(
        self, autojump_clock, headers, status
    ):
        async with open_api() as api:
            body = json.dumps({"messages": [MESSAGE]}).encode()
            for path, content in ((BATCH, body), (SINGLE, b"{}")):
                response = await api.post(path, content, JSON_TYPE, *headers)

                assert response.status == status
                assert status == 202 or said(response)[1] == {"message": "Unauthorized"}

    async def test_a_batch_with_a_fault_is_sent_to_nobody(self, autojump_clock):
        async with open_api() as api:
            old, _ = await members(api)

            response = await api.post_batch(MESSAGE, {"topic": "room"})

            assert said(response) == (
                422,
                {
                    "errors": {
                        "messages": [
                            {},
                            {"payload": ["can't be blank"], "event": ["can't be blank"]},
                        ]
                    }
                },
            )
            assert raw(old) == []

    @pytest.mark.parametrize(
        ("path", "content", "content_type", "expected"),
        [
            (BATCH, b"{}", JSON_TYPE, (422, {"errors": {"messages": ["can't be blank"]}})),
            (BATCH, b"{", JSON_TYPE, (400, {"message": "Bad Request"})),
            (SINGLE, b"{", JSON_TYPE, (400, {"message": "Bad Request"})),
            (SINGLE, b'"\xff"', JSON_TYPE, (400, {"message": "Bad Request"})),
            (
                SINGLE,
                b"1" * 101,
                JSON_TYPE,
                (422, {"errors": {"payload": ["Payload size exceeds tenant limit"]}}),
            ),
            (
                SINGLE,
                b"1" * 101,
                BYTES_TYPE,
                (422, {"errors": {"payload": ["Payload size exceeds tenant limit"]}}),
            ),
            (
                f"{BATCH}/room/events/%20",
                b"1",
                JSON_TYPE,
                (422, {"errors": {"event": ["can't be blank"]}}),
            ),
            (
                f"{SINGLE}?private=true&persist[ttl]=60",
                b"1",
                JSON_TYPE,
                (
                    422,
                    {"message": "This server runs without a database: it stores no broadcasts"},
                ),
            ),
            (
                f"{SINGLE}?persist=true",
                b"1",
                BYTES_TYPE,
                (422, {"message": "Only a broadcast of a private channel can be stored"}),
            ),
            *(
                (f"{SINGLE}?private=true&{wish}", b"1", JSON_TYPE, (422, {"message": fault}))
                for wish, fault in (
                    ("persist=yes", BAD_PERSIST),
                    ("persist[since]=1", BAD_PERSIST),
                    ("persist[ttl]=0", BAD_TTL),
                    ("persist[ttl]=-1", BAD_TTL),
                    ("persist[ttl]=1.5", BAD_TTL),
                    ("persist[ttl]=99999999999999999999", BAD_TTL),
                )
            ),
            (f"{BATCH}/%FF/events/e", b"1", JSON_TYPE, (400, {"message": "Bad Request"})),
            *(
                (f"{BATCH}{path}", b"1", JSON_TYPE, (404, {"message": "Not Found"}))
                for path in (
                    "/",
                    "/room",
                    "/room/events",
                    "/room/events/",
                    "//events/e",
                    "/room/event/e",
                    "/room/events/e/",
                    "/a/b/events/e",
                    "/room%2Fevents%2Fe",
                )
            ),
            *(
                (
                    SINGLE,
                    b"1",
                    f"content-type: {kind}",
                    (
                        415,
                        {
                            "error": "Unsupported Media Type."
                            " Use application/json or application/octet-stream"
                        },
                    ),
                )
                for kind in ("text/plain", "application/x-www-form-urlencoded", "json")
            ),
        ],
    )
    async def test_what_cannot_be_done_is_told_as_the_tables_say(
        self, autojump_clock, path, content, content_type, expected
    ):
        async with open_api() as api:
            old, _ = await members(api)

            response = await api.post(path, content, content_type, SERVICE)

            assert said(response) == expected
            assert response.headers["content-type"] == "application/json"
            assert raw(old) == []

    async def test_an_unsupported_type_is_told_before_the_key_is_looked_at(
        self, autojump_clock
    ):
        async with open_api() as api:
            assert (await api.post(SINGLE, b"1", "content-type: text/plain")).status == 415

    @pytest.mark.parametrize(
        ("accept", "status"),
        [
            ("*/*", 202),
            ("application/json", 202),
            ("text/html, application/*;q=0.5", 202),
            ("application/vnd.api+json", 202),
            ("", 202),
            ("text/html", 406),
            ("image/png, text/plain", 406),
        ],
    )
    async def test_who_takes_no_json_cannot_be_told_anything(
        self, autojump_clock, accept, status
    ):
        async with open_api() as api:
            response = await api.post(SINGLE, b"1", ANON, f"accept: {accept}")

            assert response.status == status
            assert status == 202 or said(response)[1] == {"message": "Not Acceptable"}

    async def test_a_body_over_eight_megabytes_is_not_read(self, autojump_clock):
        async with open_api() as api:
            client = api.port.connect()
            await client.send(
                f"POST {BATCH} HTTP/1.1\r\nhost: t\r\n{ANON}\r\ncontent-length: 8000001\r\n\r\n".encode()
            )

            assert (await client.response()).status == 413

    async def test_nothing_of_a_body_is_waited_for_before_the_key_is_known_to_be_good(
        self, autojump_clock
    ):
        async with open_api() as api:
            client = api.port.connect()
            await client.send(
                f"POST {BATCH} HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n".encode()
            )

            assert (await client.response()).status == 401

    async def test_all_bodies_together_have_a_budget(self, autojump_clock):
        async with open_api(body_bytes=100) as api:
            head = f"POST {SINGLE} HTTP/1.1\r\nhost: t\r\n{ANON}\r\ncontent-length: 60\r\n\r\n"
            slow = api.port.connect()
            await slow.send(head.encode() + b"1" * 59)
            await wait_all_tasks_blocked()
            refused = await api.post(SINGLE, b"1" * 60)
            await slow.send(b"1")

            assert said(refused) == (503, {"message": "Service Unavailable"})
            assert (await slow.response()).status == 202
            assert (await api.post(SINGLE, b"1" * 60)).status == 202

    async def test_nobody_speaks_for_a_tenant_that_is_suspended(self, autojump_clock):
        async with open_api() as api:
            api.stage.tenant.status.is_suspended = True

            for response in (await api.post(SINGLE, b"1"), await api.post_batch(MESSAGE)):
                assert said(response) == (403, {"message": "Tenant is suspended"})

    async def test_a_client_that_leaves_in_its_body_gives_its_room_back(self, autojump_clock):
        async with open_api() as api:
            client = api.port.connect()
            await client.send(
                f"POST {BATCH} HTTP/1.1\r\nhost: t\r\n{ANON}\r\ncontent-length: 9\r\n\r\n1".encode()
            )
            await wait_all_tasks_blocked()
            assert api.bodies.held_bytes == 1
            await client.stream.aclose()
            await wait_all_tasks_blocked()

            assert api.bodies.held_bytes == 0


async def have_sent(api, events: int) -> None:
    """Let the tenant have had so many events in the five seconds that count."""
    api.stage.tenant.quota.events.count(events)
    await trio.sleep(5)


class TestQuotas:
    @pytest.mark.parametrize(
        ("events", "size", "text"),
        [
            (40, 2, None),
            (40, 3, "Too many messages to broadcast, please reduce the batch size"),
            (50, 1, "Too many messages to broadcast, please reduce the batch size"),
            (51, 1, "You have exceeded your rate limit"),
        ],
    )
    async def test_a_batch_may_use_what_is_left_and_no_more(
        self, autojump_clock, events, size, text
    ):
        async with open_api(per_second=10) as api:
            old, _ = await members(api)
            await have_sent(api, events)

            response = await api.post_batch(*[MESSAGE] * size)

            assert said(response) == ((429, {"message": text}) if text else (202, None))
            assert len(await old.received()) == (0 if text else size)

    @pytest.mark.parametrize(("events", "status"), [(49, 202), (50, 429)])
    async def test_one_broadcast_is_refused_at_the_limit(self, autojump_clock, events, status):
        async with open_api(per_second=10) as api:
            await have_sent(api, events)

            response = await api.post(SINGLE, b"1")

            assert response.status == status
            if status == 429:
                assert said(response)[1] == {"message": "You have exceeded your rate limit"}

    async def test_each_broadcast_counts_and_each_that_is_received(self, autojump_clock):
        async with open_api(per_second=10) as api:
            await members(api)

            await api.post_batch(*[MESSAGE] * 2, {**MESSAGE, "topic": "elsewhere"})
            await trio.sleep(5)

            # Three sent, and two received by two members each.
            assert api.stage.tenant.quota.events.average == (3 + 4) / 5

    async def test_without_a_quota_there_is_no_word_of_it(self, autojump_clock):
        async with open_api() as api:
            response = await api.post(SINGLE, b"1")

            assert not [name for name in response.headers if name.startswith("x-rate")]

    async def test_a_tenant_that_is_asked_too_often_is_refused_until_it_calms_down(
        self, autojump_clock
    ):
        async with open_api(per_second=2) as api:
            first = [await api.post(SINGLE, b"1") for _ in range(3)]
            await trio.sleep(1)
            after = await api.post(SINGLE, b"1")
            await trio.sleep(1)
            later = await api.post(SINGLE, b"1")
            stranger = await api.post(SINGLE, b"1", "apikey: nobody")

            assert [response.status for response in first] == [202] * 3
            assert said(after) == (429, {"message": "Too many requests"})
            assert rates(after) == ("3.00", "2", "0")
            assert (later.status, rates(later)) == (202, ("2.00", "2", "0"))
            assert (stranger.status, rates(stranger)) == (401, ("2.00", "2", "0"))

    async def test_a_minute_is_what_is_remembered(self, autojump_clock):
        async with open_api(per_second=100) as api:
            for _ in range(120):
                await api.post(SINGLE, b"1")
            start = await api.post(SINGLE, b"1")
            await trio.sleep(60)
            middle = await api.post(SINGLE, b"1")
            await trio.sleep(3600)
            end = await api.post(SINGLE, b"1")

            assert rates(start) == ("0.00", "100", "100")
            assert rates(middle) == ("2.02", "100", "97")
            assert rates(end) == ("0.00", "100", "100")


def rates(response) -> tuple[str, ...]:
    names = ("x-rate-rolling", "x-rate-limit", "x-rate-limit-remaining")
    return tuple(response.headers[name] for name in names)


class TestBrowsers:
    """What a page of another origin needs, as a browser asks for it."""

    ORIGIN = "origin: https://app.example"

    @pytest.mark.parametrize("prefix", ["/api", "/realtime/v1/api"])
    async def test_a_page_may_post_after_it_asked(self, autojump_clock, prefix):
        async with open_api() as api:
            old, _ = await members(api)
            path = f"{prefix}/broadcast/room/events/mv?apikey=anon&vsn=2.0.0"
            wanted = "apikey,authorization,content-type,x-client-info"

            asked = await api.request(
                "OPTIONS",
                path,
                b"",
                self.ORIGIN,
                "access-control-request-method: POST",
                f"access-control-request-headers: {wanted}",
            )
            posted = await api.post(
                path, b"{}", self.ORIGIN, JSON_TYPE, SERVICE, ANON, "x-client-info: supabase-js"
            )

            assert asked.status == 200
            assert asked.headers["access-control-allow-origin"] == "*"
            assert "POST" in asked.headers["access-control-allow-methods"]
            assert asked.headers["access-control-allow-headers"] == wanted
            assert asked.headers["access-control-max-age"] == "86400"
            assert posted.status == 202
            assert posted.headers["access-control-allow-origin"] == "*"
            assert len(raw(old)) == 1

    async def test_a_page_can_read_why_it_was_refused(self, autojump_clock):
        async with open_api() as api:
            response = await api.post(SINGLE, b"{", self.ORIGIN, ANON)

            assert response.status == 400
            assert response.headers["access-control-allow-origin"] == "*"

    async def test_nobody_may_use_the_cookies_of_a_user(self, autojump_clock):
        async with open_api() as api:
            response = await api.post(SINGLE, b"1", self.ORIGIN, ANON, "cookie: a=b")

            assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("path", ["/api/ping", "/realtime/v1/api/ping"])
async def test_a_ping_succeeds(autojump_clock, path):
    async with open_api() as api:
        assert said(await api.request("GET", path)) == (200, {"message": "Success"})


async def test_the_healthcheck_is_still_there(autojump_clock):
    async with open_api() as api:
        assert (await api.request("GET", "/healthcheck")).body == b"ok"


class TestWhatPoliciesAreAsked:
    async def test_all_topics_of_a_request_are_asked_about_together(self, autojump_clock):
        policies = FakePolicies(write={"room 1": NOTHING}, write_s=2.0)
        async with open_api(policies=policies) as api:
            private, _ = await members(api, "realtime:room 39", private=True)
            started = trio.current_time()
            messages = [
                {**MESSAGE, "topic": f"room {number}", "private": True} for number in range(40)
            ]

            assert (await api.post_batch(*messages)).status == 202
            assert trio.current_time() - started < 4.0
            assert len(raw(private)) == 1
            rendered = api.stage.metrics.render()
            assert b'broadcasts_dropped_total{reason="denied"} 1.0' in rendered

    async def test_a_request_is_answered_however_slow_the_policies_are(self, autojump_clock):
        async with open_api(policies=FakePolicies(write_s=3600.0)) as api:
            private, _ = await members(api, private=True)
            with trio.fail_after(20):
                response = await api.post(f"{SINGLE}?private=true", b"{}")

            assert said(response) == (429, {"message": "Connection pool exhausted"})
            assert raw(private) == []


class TestWhereAChannelIsManaged:
    @staticmethod
    def manage(api, **config):
        channel = ManagedChannel("room", config=ChannelConfig(**config), is_created=True)
        api.stage.tenant.managed.add(channel)

    @pytest.mark.capability("GF-045", "GF-111")
    async def test_who_may_not_write_there_is_not_heard(self, autojump_clock):
        async with open_api() as api:
            self.manage(api, require_auth=False, write=frozenset({"admin"}))
            old, new = await members(api)

            single = await api.post(SINGLE, b"{}", JSON_TYPE, ANON)
            batch = await api.post_batch(MESSAGE)

            assert (single.status, batch.status) == (403, 202)
            assert raw(old) == raw(new) == []

    async def test_who_may_is_heard(self, autojump_clock):
        async with open_api() as api:
            self.manage(api, require_auth=False, write=frozenset({"anon"}))
            old, _ = await members(api)

            assert (await api.post(SINGLE, b"{}", JSON_TYPE, ANON)).status == 202
            assert (await api.post_batch(MESSAGE)).status == 202
            assert len(raw(old)) == 2

    async def test_its_size_and_rate_hold(self, autojump_clock):
        async with open_api() as api:
            self.manage(api, require_auth=False, max_message_bytes=5, rate_limit=2)
            old, _ = await members(api)

            large = await api.post(SINGLE, b'{"x": 1}', JSON_TYPE, ANON)
            found = [await api.post(SINGLE, b"{}", JSON_TYPE, ANON) for _ in range(3)]

            assert said(large) == (422, {"errors": {"payload": [TOO_LARGE]}})
            assert [one.status for one in found] == [202, 202, 429]
            assert len(raw(old)) == 2

    @pytest.mark.parametrize("query", ["", "?private=true", "?private=true&persist=true"])
    async def test_broadcasts_that_are_switched_off_are_off_over_http(
        self, query, autojump_clock
    ):
        async with open_api() as api:
            api.stage.tenant.status.takes_broadcasts = False

            refused = await api.post(SINGLE + query, b"{}", JSON_TYPE, SERVICE)

            assert refused.status == 403
