"""The session of GoForward by itself: which frames ask for what, and that nothing else has an effect."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import (
    Answer,
    Broadcast,
    Heartbeat,
    Join,
    Leave,
    PresencePush,
    SharedChanges,
)
from protocol.errors import MalformedFrame, ProtocolError, TooMuchPending
from protocol.goforward.session import (
    FAULTS_ANSWERED,
    PENDING_LIMIT,
    PENDING_LIMIT_BYTES,
    SUBSCRIPTIONS_LIMIT,
)
from tests.support.goforward import dialect

PING = '{"type":"ping"}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["broadcast", "message", "presence", "ping", "pong", "system", ""])
EVENTS = st.sampled_from(["update", "join", "e", ""])
PUSHES = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES | JSON,
        "event": EVENTS | JSON,
        "payload": st.fixed_dictionaries({}, optional={"state": JSON}) | JSON,
        "id": JSON,
        "user_id": JSON,
    },
)
FRAMES = PUSHES.map(json.dumps) | JSON.map(json.dumps) | st.text() | st.binary()


def new_session(user: str = "me"):
    return dialect("room").session(user)


def joined_session():
    session = new_session()
    (join,) = session.begin()
    session.settle(join.topic, join.number, joined=True)
    return session, join.topic


def shared(*ids: str):
    return [SharedChanges(id_, ()) for id_ in ids]


def test_who_connects_joins_its_channel_and_is_present_without_a_state():
    session = new_session()
    (join,) = session.begin()

    assert isinstance(join, Join)
    assert (join.sub_topic, join.options.private, join.options.echo) == ("room", False, True)
    assert (join.options.presence_key, join.options.presence_enabled) == ("me", True)
    assert join.options.managed
    (push,) = session.settle(join.topic, join.number, joined=True)
    assert (type(push), push.payload) == (PresencePush, b"{}")


@given(st.lists(FRAMES, max_size=30), st.sampled_from(["joining", "joined", "refused", "over"]))
def test_nothing_but_a_protocol_error_is_raised_and_only_a_member_has_an_effect(frames, stage):
    session = new_session()
    (join,) = session.begin()
    if stage != "joining":
        session.settle(join.topic, join.number, joined=stage != "refused")
    if stage == "over":
        session.forget(join.topic, join.number)
    for frame in frames:
        try:
            commands = session.receive(frame)
        except ProtocolError:
            commands = ()
        assert stage == "joined" or commands == ()
        for command in commands:
            assert isinstance(command, Answer | Broadcast | Heartbeat | PresencePush)
            assert command.topic == join.topic


@given(st.lists(FRAMES, max_size=PENDING_LIMIT))
def test_what_waits_comes_out_as_if_it_had_come_later(frames):
    early, (late, topic) = new_session(), joined_session()
    (join,) = early.begin()

    def replies(session):
        found = []
        for frame in frames:
            try:
                found += session.receive(frame)
            except MalformedFrame:
                continue
        return found

    assert replies(early) == []
    _, *waited = early.settle(topic, join.number, joined=True)
    assert waited == replies(late)


@pytest.mark.parametrize("size", [PENDING_LIMIT_BYTES // 10, 0])
def test_what_waits_is_bounded(size):
    session = new_session()
    session.begin()
    frame = json.dumps({"type": "ping", "payload": {"x": "x" * size}})
    fitting = PENDING_LIMIT if size == 0 else 9
    for _ in range(fitting):
        session.receive(frame)

    with pytest.raises(TooMuchPending):
        session.receive(frame)


def test_of_many_faults_in_a_row_the_first_are_answered_until_one_frame_is_good():
    session, _ = joined_session()
    for _ in range(FAULTS_ANSWERED):
        assert len(session.receive("x")) == 1
    with pytest.raises(MalformedFrame):
        session.receive("x")
    session.receive(PING)

    assert len(session.receive("x")) == 1


def test_after_a_refusal_nothing_that_waited_has_an_effect():
    session = new_session()
    (join,) = session.begin()
    session.receive(PING)

    assert session.settle(join.topic, join.number, joined=False) == ()
    assert session.receive(PING) == ()


def test_a_channel_that_ended_before_it_was_settled_has_no_member():
    session = new_session()
    (join,) = session.begin()
    session.receive(PING)
    session.forget(join.topic, join.number)

    assert session.settle(join.topic, join.number, joined=True) == ()
    assert session.share(join.topic, shared("a")) == ()


def test_rooms_of_subscriptions_are_joined_and_left_with_them():
    session, topic = joined_session()
    a, b = session.share(topic, shared("a", "b"))
    assert [join.sub_topic for join in (a, b)] == ["goforward:room:a", "goforward:room:b"]
    assert len({topic, a.topic, b.topic}) == len({1, a.number, b.number}) == 3
    assert session.share(topic, shared("a", "b")) == []

    leave, join = session.share(topic, shared("b", "c"))
    assert isinstance(leave, Leave)
    assert (leave.topic, leave.number) == (a.topic, a.number)
    assert join.sub_topic == "goforward:room:c"


@pytest.mark.parametrize("how", ["refused", "forgotten"])
def test_a_subscription_that_was_lost_is_joined_again_when_it_is_looked_at_again(how):
    session, topic = joined_session()
    (join,) = session.share(topic, shared("a"))
    if how == "refused":
        assert session.settle(join.topic, join.number, joined=False) == ()
    else:
        session.forget(join.topic, join.number)

    (again,) = session.share(topic, shared("a"))
    assert again.number > join.number


def test_a_subscription_is_none_of_a_room_of_its_own():
    session, topic = joined_session()
    (join,) = session.share(topic, shared("a"))

    assert session.settle(join.topic, join.number, joined=True) == ()
    assert session.share(join.topic, shared("b")) == ()


def test_subscriptions_are_bounded():
    session, topic = joined_session()
    ids = [str(number) for number in range(SUBSCRIPTIONS_LIMIT + 1)]

    assert len(session.share(topic, shared(*ids))) == SUBSCRIPTIONS_LIMIT


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_state_is_what_was_sent_and_when(state):
    session, _ = joined_session()
    try:
        text = json.dumps(
            {"type": "presence", "event": "update", "payload": {"state": state}},
            allow_nan=False,
        )
    except ValueError:
        return
    (push,) = session.receive(text)
    if isinstance(push, Answer):
        # Half a surrogate pair is no text.
        assert "\\ud" in text
        return
    tracked = json.loads(push.payload)

    assert tracked.pop("last_seen").startswith("2022-01-15T")
    state.pop("last_seen", None)
    assert tracked == state
