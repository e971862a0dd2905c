"""Whatever a peer sends: nothing but protocol errors, and no command for a topic that it has not joined."""

import json

from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import AccessToken, Broadcast, Join, Leave
from protocol.errors import ProtocolError
from protocol.events import UserBroadcast
from protocol.phoenix import PhoenixDialect, binary
from protocol.phoenix.envelope import BinaryPush
from tests.support.phoenix import frame

TOPICS = ["realtime:a", "realtime:b", "realtime:", "phoenix", "other"]
EVENTS = ["phx_join", "phx_leave", "broadcast", "access_token", "presence", "heartbeat", "x"]

refs = st.sampled_from([None, "1", "2", 3])
payloads = st.sampled_from([b"{}", b"null", b"[]", b'{"access_token":"t"}', b'{"config":{}}'])
versions = st.sampled_from(["1.0.0", "2.0.0"])
texts = st.builds(
    frame, versions, st.sampled_from(TOPICS), st.sampled_from(EVENTS), payloads, refs, refs
)
pushes = st.builds(
    lambda encode, topic, event, payload, is_binary: encode(
        BinaryPush("1", "2", topic, event, UserBroadcast(event, payload, is_binary))
    ),
    st.sampled_from([binary.encode_push, binary.encode_user_broadcast_push]),
    st.sampled_from(TOPICS),
    st.sampled_from(EVENTS),
    payloads,
    st.booleans(),
)
frames = texts | pushes | texts.map(str.encode) | st.text() | st.binary()
settles = st.tuples(
    st.sampled_from(TOPICS), st.integers(0, 6), st.sampled_from([True, False, None])
)


def follow(current: dict[str, int], command) -> None:
    """Check one command against the joins that are current, and note what it changes."""
    match command:
        case Join():
            assert command.replaces == current.get(command.topic)
            current[command.topic] = command.number
        case Leave():
            assert current.pop(command.topic) == command.number
        case Broadcast() | AccessToken():
            assert current[command.topic] == command.number


@given(versions, st.lists(frames | settles, max_size=30))
def test_commands_are_for_current_joins_only(version, steps):
    session = PhoenixDialect(version).session()
    current: dict[str, int] = {}
    for step in steps:
        if isinstance(step, tuple):
            topic, number, joined = step
            if joined is None:
                session.forget(topic, number)
                commands = ()
            else:
                commands = session.settle(topic, number, joined=joined)
            if not joined and current.get(topic) == number:
                del current[topic]
        else:
            try:
                commands = session.receive(step)
            except ProtocolError:
                commands = ()
        for command in commands:
            follow(current, command)


@given(st.sampled_from(["1.0.0", "2.0.0"]), frames | st.text(st.characters()))
def test_an_arbitrary_frame_raises_nothing_but_a_protocol_error(version, data):
    session = PhoenixDialect(version).session()
    try:
        commands = session.receive(data)
    except ProtocolError:
        return
    assert not [c for c in commands if isinstance(c, Broadcast | AccessToken | Leave)]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner, min_size=1, max_size=6),
    )
)
def test_any_json_is_read_without_a_crash(value):
    text = json.dumps(value)
    for version in ("1.0.0", "2.0.0"):
        try:
            PhoenixDialect(version).session().receive(text)
        except ProtocolError:
            continue
