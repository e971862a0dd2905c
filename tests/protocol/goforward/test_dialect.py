"""What a GoForward client is told of each event, and what it is not told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.dialect import EncodeKey
from protocol.events import (
    Closed,
    Failed,
    Joined,
    JoinRefused,
    PresenceDiff,
    PresenceState,
    PushRefused,
    Replaced,
    ReplayedBroadcast,
    Reply,
    RowChange,
    System,
    TextBroadcast,
    UserBroadcast,
)
from protocol.frames import CloseCode, Opcode
from protocol.goforward import refs
from protocol.goforward.envelope import Stamp
from protocol.goforward.topics import channel_topic, subscription_topic
from tests.support.goforward import counting_stamps, dialect

ROOM = channel_topic("room")
DIALECT = dialect("room")
BYTES = UserBroadcast("e", b"\xff", is_binary=True)


def told(event, topic=ROOM, sender="bob"):
    """Return the messages of an event."""
    frames = DIALECT.encode(event, topic, sender)
    assert all(frame.opcode is Opcode.TEXT for frame in frames)
    return [json.loads(frame.payload) for frame in frames]


def told_shortly(event, topic=ROOM):
    return [(m["type"], m["event"], m["payload"]) for m in told(event, topic)]


def error(code, **members):
    return [("system", "error", {"code": code, **members})]


def codes_told(event, topic=ROOM):
    return [payload.get("code") for _, _, payload in told_shortly(event, topic)]


@pytest.mark.capability("GF-024", "GF-027")
def test_a_message_has_an_id_and_a_time():
    (message,) = told(UserBroadcast("e", b'{"a":1}', is_binary=False))
    id_, at = message.pop("id"), message.pop("timestamp")

    assert message == {
        "type": "message",
        "event": "e",
        "payload": {"a": 1},
        "user_id": "bob",
    }
    kind, ms, luck = id_.split("_")
    assert (kind, len(ms), len(luck)) == ("msg", 13, 6)
    assert at.startswith("2022-01-15T08:16:0")
    assert at.endswith("Z")


def test_a_stamp_is_written_in_full_to_the_millisecond():
    stamp = Stamp(1_642_234_567.0, b"\0\1\2\x0a\x0b\x24")

    assert stamp.message_id == "msg_1642234567000_012ab0"
    assert stamp.change_id == "change_1642234567000"
    assert stamp.timestamp == "2022-01-15T08:16:07.000Z"


def test_a_broadcast_may_bring_its_id_and_type():
    metadata = b'{"id":"msg_1642234567890_abc123","type":"broadcast"}'
    (message,) = told(UserBroadcast("e", b"{}", is_binary=False, metadata=metadata))

    assert (message["id"], message["type"]) == ("msg_1642234567890_abc123", "broadcast")


@pytest.mark.parametrize(
    "metadata",
    [
        b'{"id":"0b8ec9c2-5d44-4a50-8b3a-3d2ad3d1f3a1"}',
        b'{"id":5}',
        b'{"id":"msg_1_x","type":"system"}',
        b'{"replayed":true}',
    ],
)
def test_other_metadata_is_not_looked_at(metadata):
    (message,) = told(UserBroadcast("e", b"{}", is_binary=False, metadata=metadata))

    assert message["id"].startswith("msg_16422345")
    assert message["type"] == "message"


@pytest.mark.parametrize(
    ("payload", "event", "expected"),
    [
        (b'{"type":"broadcast","event":"e","payload":{"a":[1]}}', "e", {"a": [1]}),
        (b'{"event":"e","payload":null}', "e", {}),
        (b'{"event":"e"}', "e", {}),
        (b'{"event":"e","payload":7}', "e", 7),
        (b'{"event":5,"payload":{"a":1}}', "", {"a": 1}),
        (b"{}", "", {}),
    ],
)
def test_what_a_supabase_client_sends_as_text_is_a_message(payload, event, expected):
    assert told_shortly(TextBroadcast(payload)) == [("message", event, expected)]


@pytest.mark.parametrize(
    "event",
    [
        BYTES,
        ReplayedBroadcast("1", UserBroadcast("e", b"{}", is_binary=False)),
        Replaced("1"),
        Reply(refs.BROADCAST, refs.CHANNEL, ok=True),
        Reply(refs.PRESENCE, refs.CHANNEL, ok=True),
        System(refs.CHANNEL, "postgres_changes", ok=True, message="Subscribed", channel="x"),
        System(refs.CHANNEL, "system", ok=False, message="told by Closed", channel="x"),
    ],
)
def test_what_these_clients_know_nothing_of_is_not_told(event):
    assert told(event) == []


@pytest.mark.parametrize(
    "event",
    [
        UserBroadcast("e", b"{}", is_binary=False),
        TextBroadcast(b"{}"),
        Joined(None, refs.SUBSCRIPTION, ()),
        PresenceState(refs.SUBSCRIPTION, b'{"a":{"metas":[{"phx_ref":"1"}]}}'),
        Reply(None, refs.SUBSCRIPTION, ok=True),
        Closed(refs.SUBSCRIPTION),
        Failed(refs.SUBSCRIPTION),
        System(None, "system", ok=True, message="Server requested disconnect", channel=None),
    ],
)
def test_in_the_room_of_a_subscription_nothing_but_rows_is_told(event):
    assert told(event, subscription_topic("sub_1")) == []


def test_a_subscription_that_cannot_be_joined_is_told():
    refused = JoinRefused(
        None, refs.SUBSCRIPTION, "ChannelRateLimitReached", "Too many channels"
    )

    assert told_shortly(refused, subscription_topic("sub_1")) == error(
        "DB_SUBSCRIPTION_FAILED",
        error="failed to subscribe to database changes",
        details="Too many channels",
    )


def test_a_subscription_that_fails_is_told():
    failed = System(refs.SUBSCRIPTION, "postgres_changes", False, "no such table", "x")

    assert told_shortly(failed, subscription_topic("sub_1")) == error(
        "DB_SUBSCRIPTION_FAILED",
        error="failed to subscribe to database changes",
        details="no such table",
    )


def test_a_change_with_an_error_says_so():
    data = (
        b'{"type":"INSERT","schema":"public","table":"t","commit_timestamp":"2026-11-21T10:00:00.000Z",'
        b'"errors":["Error 401: Unauthorized"],"columns":[],"record":{}}'
    )
    (message,) = told(RowChange((1,), data), subscription_topic("sub_1"))

    assert message["payload"]["change"]["errors"] == ["Error 401: Unauthorized"]


@pytest.mark.parametrize("kind", ["INSERT", "UPDATE", "DELETE"])
def test_a_row_that_is_nested_too_deeply_is_told_without_its_values(kind):
    deep = b"[" * 5000 + b"]" * 5000
    data = (
        b'{"type":"%b","schema":"public","table":"a,\\"errors\\":","commit_timestamp":"t","errors":null,'
        b'"columns":[],"record":{"a":%b},"old_record":{"a":%b}}' % (kind.encode(), deep, deep)
    )
    (message,) = told(RowChange((1,), data), subscription_topic("sub_1"))
    change = message["payload"]["change"]

    assert message["event"] == f'{kind}.a,"errors":'
    assert change["new_record"] == (None if kind == "DELETE" else {})
    assert change["old_record"] == (None if kind == "INSERT" else {})
    assert change["errors"] == ["The row is nested too deeply to be shown"]
    assert change["timestamp"] == "t"


@pytest.mark.parametrize("depth", [10, 900, 5000])
def test_broadcasts_of_any_depth_are_told_by_each_of_their_ways(depth):
    deep = b"[" * depth + b"]" * depth
    nested = b'{"event":"e","payload":{"a":%b}}' % deep

    for event in (UserBroadcast("e", nested, is_binary=False), TextBroadcast(nested)):
        (frame,) = DIALECT.encode(event, ROOM, "bob")
        assert deep in frame.payload


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ChannelPermissionDenied", "PERMISSION_DENIED"),
        ("ChannelNotFound", "CHANNEL_NOT_FOUND"),
        ("ChannelFull", "CHANNEL_FULL"),
        ("InvalidJWTToken", "AUTH_FAILED"),
        ("ConnectionRateLimitReached", "RATE_LIMIT_EXCEEDED"),
        ("SomethingNew", "UNAVAILABLE"),
    ],
)
@pytest.mark.capability("GF-134")
def test_a_refused_join_is_an_error_and_the_end(code, expected):
    refused = JoinRefused(None, refs.CHANNEL, code, "because")

    assert codes_told(refused) == [expected]
    assert DIALECT.ends_with(refused) is CloseCode.POLICY


def test_a_refused_push_is_an_error_and_no_end():
    refused = PushRefused(None, None, "permission_denied", "no", required_permission="write")

    assert told_shortly(refused) == error(
        "PERMISSION_DENIED", error="insufficient permissions", required_permission="write"
    )
    assert DIALECT.ends_with(refused) is None


@pytest.mark.parametrize(
    ("response", "code"),
    [(b'{"reason":"Too much is tracked"}', "INVALID_REQUEST"), (b"{}", "PERMISSION_DENIED")],
)
def test_a_state_that_is_refused_is_an_error(response, code):
    reply = Reply(refs.PRESENCE, refs.CHANNEL, ok=False, response=response)

    assert codes_told(reply) == [code]


def test_a_channel_that_is_closed_says_why():
    closed = Closed(refs.CHANNEL, "the channel was deleted")

    assert told_shortly(closed) == [
        ("system", "channel_closed", {"reason": "the channel was deleted"})
    ]
    assert DIALECT.ends_with(closed) is CloseCode.NORMAL


def test_an_end_with_a_code_is_told_as_an_error_alone():
    notice = System(refs.CHANNEL, "system", False, "Too many", "x", "SlowConsumer")
    closed = Closed(refs.CHANNEL, "Too many", "SlowConsumer")

    assert codes_told(notice) == ["SLOW_CONSUMER"]
    assert told(closed) == []
    assert DIALECT.ends_with(closed) is CloseCode.POLICY


def test_a_subscription_that_is_refused_is_not_the_end_of_the_channel():
    assert DIALECT.ends_with(JoinRefused(None, refs.SUBSCRIPTION, "", "x")) is None
    assert DIALECT.ends_with(Failed(refs.SUBSCRIPTION)) is CloseCode.SERVICE_RESTART


def metas(**users):
    return json.dumps({key: {"metas": states} for key, states in users.items()}).encode()


def presences(event):
    return [(name, p["user_id"], p["state"]) for _, name, p in told_shortly(event)]


def test_a_newcomer_is_told_of_everybody_by_the_state_set_last():
    state = metas(
        ann=[{"phx_ref": "1", "s": 1}, {"phx_ref": "2", "s": 2}, {"phx_ref": "3"}],
        bob=[{"phx_ref": "4", "phx_ref_prev": "0"}],
    )

    assert presences(PresenceState("1", state)) == [
        ("join", "ann", {"s": 2}),
        ("join", "bob", {}),
    ]


@pytest.mark.parametrize(
    ("joins", "leaves", "known", "remaining", "expected"),
    [
        ([{"phx_ref": "1"}], [], False, True, [("join", {})]),
        ([{"phx_ref": "1"}, {"phx_ref": "2", "s": 1}], [], False, True, [("join", {"s": 1})]),
        ([{"phx_ref": "1"}], [], True, True, []),
        ([{"phx_ref": "1", "s": 1}], [], True, True, [("update", {"s": 1})]),
        (
            [{"phx_ref": "2", "phx_ref_prev": "1", "s": 2}],
            [{"phx_ref": "1", "s": 1}],
            True,
            True,
            [("update", {"s": 2})],
        ),
        (
            [{"phx_ref": "2", "phx_ref_prev": "1"}],
            [{"phx_ref": "1", "s": 1}],
            True,
            True,
            [("update", {})],
        ),
        ([], [{"phx_ref": "1", "s": 1}], True, False, [("leave", {"s": 1})]),
        ([], [{"phx_ref": "1", "s": 1}], True, True, []),
    ],
)
@pytest.mark.capability("GF-037", "GF-038", "GF-039", "GF-040")
def test_a_user_joins_once_has_one_state_and_leaves_once(
    joins, leaves, known, remaining, expected
):
    diff = PresenceDiff(
        metas(**({"ann": joins} if joins else {})),
        metas(**({"ann": leaves} if leaves else {})),
        frozenset({"ann"} if known else ()),
        frozenset({"ann"} if remaining else ()),
    )

    assert presences(diff) == [(name, "ann", state) for name, state in expected]


def test_every_message_of_one_event_has_an_id_of_its_own():
    state = metas(**{f"u{number}": [{"phx_ref": str(number)}] for number in range(5)})

    assert len({m["id"] for m in told(PresenceState("1", state))}) == 5


def test_dialects_of_one_channel_are_equal_whatever_stamps_them():
    assert dialect("a") == dialect("a")
    assert hash(EncodeKey(dialect("a"), "t")) == hash(EncodeKey(dialect("a"), "t"))
    assert dialect("a") != dialect("b")
    assert dialect("a", ping_interval_s=1.0) != dialect("a")


@pytest.mark.capability("GF-105")
def test_pings_are_sent_as_often_as_is_set_or_never():
    heartbeat = dialect(ping_interval_s=5.0).heartbeat

    (ping,) = heartbeat.frames
    assert (heartbeat.interval_s, ping.wire()) == (5.0, b"\x89\x00")
    assert dialect(ping_interval_s=0.0).heartbeat is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text() | st.sampled_from(["event", "payload"]), JSON), st.text())
def test_whatever_a_client_of_another_dialect_sends_can_be_told(payload, sender):
    try:
        text = json.dumps(payload).encode()
        sender.encode()
    except UnicodeEncodeError:
        return

    (message,) = told(TextBroadcast(text), sender=sender)
    assert message.keys() == {"id", "type", "event", "payload", "user_id", "timestamp"}


def test_stamps_of_the_tests_differ():
    stamp = counting_stamps()

    assert stamp() != stamp()
