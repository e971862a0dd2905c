"""What holds of a Fluxbase session whatever it is told: no frame crashes it, and what it keeps is bounded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import Answer, Broadcast, Join, Leave, PresencePush
from protocol.errors import ProtocolError, TooMuchPending
from protocol.events import Closed, Failed, JoinRefused, PushRefused, RowChange, System
from protocol.fluxbase import FluxbaseDialect
from protocol.fluxbase.joined import PENDING_LIMIT, PENDING_LIMIT_BYTES
from protocol.fluxbase.topics import Topic, TopicKind, named_table, read_topic
from tests.support.hostile_strings import HOSTILE_STRINGS

DIALECT = FluxbaseDialect()
NAMES = st.sampled_from(["chat", "news", "table:public.notes", "table:a.b.c", "table:", ""])
WORDS = st.sampled_from(
    ["subscribe", "unsubscribe", "broadcast", "presence", "access_token", "heartbeat", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PRESENCES = st.fixed_dictionaries(
    {"event": st.sampled_from(["track", "untrack", "x"])},
    optional={"key": st.sampled_from(["a", "b", ""]), "state": VALUES},
)
CONFIGS = st.fixed_dictionaries(
    {"table": st.sampled_from(["notes", "*", ""])},
    optional={
        "event": st.sampled_from(["*", "INSERT", "update", "TRUNCATE"]),
        "schema": st.sampled_from(["public", "auth"]),
        "filter": st.sampled_from(["id=eq.1", "nonsense"]),
    },
)
PUSHES = st.fixed_dictionaries(
    {"type": WORDS},
    optional={
        "channel": NAMES | VALUES,
        "payload": PRESENCES | VALUES,
        "config": CONFIGS | VALUES,
        "event": st.text(max_size=3),
        "messageId": st.text(max_size=3),
        "subscription_id": st.sampled_from(["sub_1", "sub_2", "x"]),
        "token": st.text(max_size=3),
    },
).map(json.dumps)


def session():
    return DIALECT.session("me")


def frame(type, channel="", **members):  # noqa: A002
    return json.dumps({"type": type, "channel": channel, **members})


def said(event, topic):
    return [json.loads(one.payload) for one in DIALECT.encode(event, topic)]


@given(st.lists(PUSHES | st.text(max_size=20) | st.binary(max_size=5), max_size=20), st.data())
def test_no_frames_crash_it_and_a_topic_is_joined_once_at_a_time(data, draws):
    current, live = session(), {}
    for sent in data:
        try:
            commands = list(current.receive(sent))
        except ProtocolError:
            continue
        while commands:
            command = commands.pop(0)
            match command:
                case Join(topic, _, number):
                    assert topic not in live
                    live[topic] = number
                    joined = draws.draw(st.booleans())
                    waited = current.settle(topic, number, joined=joined)
                    if not joined:
                        del live[topic]
                        assert waited == ()
                    commands[:0] = waited
                case Leave(topic, number):
                    assert live.pop(topic) == number
                case Broadcast() | PresencePush():
                    assert live.get(command.topic, command.number) == command.number
                case Answer(topic, reply):
                    assert all(one["type"] in ("ack", "error") for one in said(reply, topic))


@given(
    st.sampled_from(TopicKind),
    *(st.text(max_size=8) for _ in range(4)),
)
def test_a_topic_is_read_as_it_was_written(kind, channel, detail, schema, table):
    topic = Topic(kind, channel, detail, schema, table)

    assert read_topic(topic.text()) == topic


@pytest.mark.parametrize(
    ("channel", "table"),
    [
        ("table:public.products", ("public", "products")),
        ("table:auth.users", ("auth", "users")),
        ("table:inventory.my.items", ("inventory", "my.items")),
        ("table:products", ("", "")),
        ("table:.products", ("", "")),
        ("table:public.", ("", "")),
        ("chat", None),
        ("tables:public.products", None),
    ],
)
@pytest.mark.capability("FB-011")
def test_a_channel_of_a_table_names_schema_and_table(channel, table):
    assert named_table(channel) == table


def test_what_is_said_before_the_channel_is_joined_waits_and_keeps_its_order():
    current = session()
    (join,) = current.receive(frame("subscribe", "chat"))
    for number in range(3):
        sent = frame("broadcast", "chat", event="e", payload=number)
        assert list(current.receive(sent)) == []

    waited = current.settle(join.topic, join.number, joined=True)
    assert [command.message.payload for command in waited] == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("payload", "fits"), [("x", PENDING_LIMIT), ("x" * (PENDING_LIMIT_BYTES // 4), 3)]
)
def test_not_much_may_wait(payload, fits):
    current = session()
    current.receive(frame("subscribe", "chat"))
    sent = frame("broadcast", "chat", event="e", payload=payload)
    for _ in range(fits):
        current.receive(sent)

    with pytest.raises(TooMuchPending):
        current.receive(sent)


@pytest.mark.parametrize("name", HOSTILE_STRINGS)
@pytest.mark.parametrize("template", ["{}", "table:public.{}", "table:{}.notes"])
def test_hostile_names_remain_names(name, template):
    channel = template.format(name)
    for command in session().receive(frame("subscribe", channel)):
        if isinstance(command, Join):
            assert read_topic(command.topic).channel == channel
            assert command.sub_topic == channel


ROWS = Topic(TopicKind.ROWS, "table:public.notes", "", "public", "notes").text()
ROOM = Topic(TopicKind.ROOM, "chat").text()


@pytest.mark.parametrize(
    ("event", "topic", "text"),
    [
        (JoinRefused(None, None, "UnableToSubscribeToPostgres", "no such"), ROWS, "no such"),
        (PushRefused(None, None, "channel_busy", "too busy"), ROOM, "too busy"),
        (System(None, "postgres_changes", False, "gone", "x"), ROWS, "gone"),
        (Failed(None), ROOM, "the channel failed, connect again"),
    ],
)
@pytest.mark.capability("FB-010")
def test_what_goes_wrong_is_an_error(event, topic, text):
    channel = read_topic(topic).channel

    assert said(event, topic) == [{"type": "error", "channel": channel, "error": text}]


def test_a_change_that_is_incomplete_says_so():
    data = (
        b'{"type":"INSERT","schema":"public","table":"notes","commit_timestamp":null,'
        b'"errors":["Error 413: Payload Too Large"],"columns":[],"record":{}}'
    )

    (message,) = said(RowChange((1,), data), ROWS)
    assert message["payload"]["errors"] == ["Error 413: Payload Too Large"]


@pytest.mark.parametrize("kind", ["INSERT", "UPDATE", "DELETE"])
@pytest.mark.parametrize(
    "topic", [ROWS, Topic(TopicKind.CHANGES, "c", "sub_1", "*", "*").text()]
)
def test_a_row_that_is_nested_too_deeply_is_told_without_its_values(kind, topic):
    deep = b"[" * 5000 + b"]" * 5000
    data = (
        b'{"type":"%b","schema":"public","table":"notes","commit_timestamp":null,"errors":null,'
        b'"columns":[],"record":{"a":%b},"old_record":{"a":%b}}' % (kind.encode(), deep, deep)
    )

    (message,) = said(RowChange((1,), data), topic)
    assert message["payload"]["errors"] == ["The row is nested too deeply to be shown"]
    assert "a" not in json.dumps(message["payload"].get("record", {}))


def test_only_an_end_by_the_servers_will_ends_the_connection():
    assert DIALECT.ends_with(Closed(None)) is None
    assert DIALECT.ends_with(Closed(None, "expired", "")) == 1008
    assert DIALECT.ends_with(Failed(None)) == 1012
    assert DIALECT.ends_with(JoinRefused(None, None, "", "")) is None
