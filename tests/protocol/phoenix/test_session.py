"""The state machine of one connection: joining, joined, unknown, and every anomaly of the specification."""

import pytest

from protocol.commands import (
    AccessToken,
    Answer,
    Broadcast,
    Heartbeat,
    Join,
    JoinFault,
    Leave,
    PresenceAction,
    PresencePush,
    UnknownPush,
)
from protocol.errors import MalformedFrame, TooMuchPending, UnknownFrame
from protocol.events import Reply, TextBroadcast, UserBroadcast
from protocol.phoenix import PhoenixDialect, binary, v1, v2
from protocol.phoenix.envelope import BinaryPush
from protocol.phoenix.session import PENDING_LIMIT, TOPIC_LIMIT, PhoenixSession
from tests.support.phoenix import ROOM, frame

UNMATCHED = b'{"reason":"unmatched topic"}'


@pytest.fixture(params=["1.0.0", "2.0.0"])
def version(request):
    return request.param


@pytest.fixture
def session(version):
    return PhoenixDialect(version).session()


@pytest.fixture
def send(session, version):
    """Hand one text frame to the session, return the commands."""

    def send(topic, event, payload=None, ref="9", join_ref="1"):
        return list(session.receive(frame(version, topic, event, payload, ref, join_ref)))

    return send


@pytest.fixture
def joining(send):
    (join,) = send(ROOM, "phx_join", {}, ref="1")
    return join


@pytest.fixture
def joined(session, joining):
    session.settle(ROOM, joining.number, joined=True)
    return joining


HALF_A_PAIR = JoinFault(
    "UnknownErrorOnChannel", "the join has half of a surrogate pair, which is no character"
)
NO_OBJECT = JoinFault("UnknownErrorOnChannel", "the join payload must be an object")
TOO_MANY = JoinFault("", "too many channels joined")


def unmatched(ref="9", topic=ROOM):
    return Answer(topic, Reply(ref, None, ok=False, response=UNMATCHED))


# Joining


def test_a_join_carries_topic_sub_topic_number_refs_and_options(send):
    (join,) = send("realtime:a:b", "phx_join", {"config": {"private": True}}, "4", "3")

    assert isinstance(join, Join)
    assert (join.topic, join.sub_topic, join.number) == ("realtime:a:b", "a:b", 1)
    assert (join.ref, join.join_ref, join.replaces) == ("4", "3", None)
    assert join.options.private


def test_joins_are_numbered_across_topics(send):
    numbers = [send(f"realtime:{n}", "phx_join")[0].number for n in range(3)]

    assert numbers == [1, 2, 3]


def test_the_warnings_of_a_join_come_with_it(send):
    (join,) = send(ROOM, "phx_join", {"config": {"broadcast": {"ack": 1}}})

    assert join.warnings == ("config.broadcast.ack: unable to parse, expected boolean",)


def test_a_second_join_replaces_the_first_at_once(send, joined):
    (second,) = send(ROOM, "phx_join", {}, ref="2", join_ref="2")

    assert (second.number, second.replaces) == (2, joined.number)


def test_a_second_join_while_joining_replaces_the_first_at_once(send, joining):
    (second,) = send(ROOM, "phx_join", {}, ref="2", join_ref="2")

    assert (second.number, second.replaces) == (2, joining.number)


def test_settling_a_replaced_join_changes_nothing(session, send, joining):
    (second,) = send(ROOM, "phx_join")
    send(ROOM, "broadcast", {"x": 1})

    assert list(session.settle(ROOM, joining.number, joined=False)) == []
    (command,) = session.settle(ROOM, second.number, joined=True)
    assert command.number == second.number


def test_forgetting_a_replaced_join_changes_nothing(session, send, joined):
    (second,) = send(ROOM, "phx_join")
    session.settle(ROOM, second.number, joined=True)
    session.forget(ROOM, joined.number)

    assert isinstance(send(ROOM, "broadcast", {})[0], Broadcast)


def test_a_refused_topic_can_be_joined_again_without_replacing(session, send, joining):
    session.settle(ROOM, joining.number, joined=False)
    (again,) = send(ROOM, "phx_join")

    assert (again.number, again.replaces) == (2, None)


def test_settling_twice_changes_nothing(session, send, joined):
    assert list(session.settle(ROOM, joined.number, joined=True)) == []
    assert isinstance(send(ROOM, "broadcast", {})[0], Broadcast)


# Waiting for the join


def test_pushes_to_a_joining_topic_wait_and_come_out_in_order(session, send, joining):
    assert send(ROOM, "broadcast", {"n": 1}, ref="2") == []
    assert send(ROOM, "unknown", {}, ref="3") == []
    assert send(ROOM, "access_token", {"access_token": "t"}, ref="4") == []
    assert send(ROOM, "broadcast", {"n": 2}, ref="5") == []

    assert list(session.settle(ROOM, joining.number, joined=True)) == [
        Broadcast(ROOM, 1, "2", "1", TextBroadcast(b'{"n": 1}')),
        UnknownPush(ROOM, 1),
        AccessToken(ROOM, 1, "t"),
        Broadcast(ROOM, 1, "5", "1", TextBroadcast(b'{"n": 2}')),
    ]
    assert list(session.settle(ROOM, joining.number, joined=True)) == []


def test_what_waited_for_a_refused_join_is_answered_as_for_an_unknown_topic(
    session, send, joining
):
    send(ROOM, "broadcast", {}, ref="2")
    send(ROOM, "unknown", {}, ref="3")

    assert list(session.settle(ROOM, joining.number, joined=False)) == [
        unmatched("2"),
        unmatched("3"),
    ]
    assert send(ROOM, "broadcast", {}, ref="4") == [unmatched("4")]


def test_what_waits_goes_over_to_the_join_that_replaces(session, send, joining):
    send(ROOM, "broadcast", {"n": 1}, ref="2")
    (second,) = send(ROOM, "phx_join", {}, ref="3", join_ref="3")

    assert list(session.settle(ROOM, second.number, joined=True)) == [
        Broadcast(ROOM, second.number, "2", "3", TextBroadcast(b'{"n": 1}'))
    ]


def test_other_topics_and_heartbeats_do_not_wait(session, send, joining):
    (other,) = send("realtime:other", "phx_join")
    session.settle("realtime:other", other.number, joined=True)

    assert isinstance(send("realtime:other", "broadcast")[0], Broadcast)
    assert isinstance(send("phoenix", "heartbeat")[0], Heartbeat)


def test_more_pushes_than_the_limit_end_the_connection(session, send, joining):
    for _ in range(PENDING_LIMIT):
        send(ROOM, "broadcast")

    with pytest.raises(TooMuchPending):
        send(ROOM, "broadcast")
    assert TooMuchPending.ends_connection
    assert len(session.settle(ROOM, joining.number, joined=True)) == PENDING_LIMIT


def test_the_bytes_that_wait_are_bounded_over_all_topics():
    session = PhoenixSession(v2.decode, held_limit_bytes=1000)
    for n in range(2):
        session.receive(frame("2.0.0", f"realtime:{n}", "phx_join"))
    large = [frame("2.0.0", f"realtime:{n}", "broadcast", {"x": "y" * 500}) for n in range(2)]
    session.receive(large[0])

    with pytest.raises(TooMuchPending):
        session.receive(large[1])
    session.settle("realtime:0", 1, joined=True)
    assert session.receive(large[1]) == ()


# Leaving


def test_a_leave_ends_the_join_and_its_topic_is_unknown(send, joined):
    assert send(ROOM, "phx_leave", {}, "2") == [Leave(ROOM, joined.number, "2", "1")]
    assert send(ROOM, "broadcast") == [unmatched()]


def test_a_leave_without_join_ref_is_accepted(send, joined):
    assert send(ROOM, "phx_leave", {}, "2", None) == [Leave(ROOM, 1, "2", "1")]


def test_a_leave_for_another_join_is_ignored(send, joined):
    assert send(ROOM, "phx_leave", {}, "2", "0") == []
    assert isinstance(send(ROOM, "broadcast")[0], Broadcast)


def test_a_join_without_join_ref_is_left_by_any(send):
    send(ROOM, "phx_join", {}, "1", None)

    assert send(ROOM, "phx_leave", {}, "2", "7") == [Leave(ROOM, 1, "2", None)]


def test_a_leave_of_an_unknown_topic_is_answered_ok(send):
    assert send(ROOM, "phx_leave", {}, "2", "7") == [Answer(ROOM, Reply("2", "7", ok=True))]
    assert send("other", "phx_leave", {}, "2", None) == [
        Answer("other", Reply("2", None, ok=True))
    ]


def test_a_leave_while_joining_comes_out_at_once_behind_refusals_of_what_waited(
    session, send, joining
):
    send(ROOM, "broadcast", {}, ref="2")

    assert send(ROOM, "phx_leave", {}, "3") == [unmatched("2"), Leave(ROOM, 1, "3", "1")]
    assert list(session.settle(ROOM, joining.number, joined=True)) == []
    assert send(ROOM, "broadcast") == [unmatched()]


def test_a_forgotten_topic_is_unknown(session, send, joined):
    session.forget(ROOM, joined.number)

    assert send(ROOM, "broadcast") == [unmatched()]


def test_what_waited_for_a_join_that_is_forgotten_is_refused_when_the_join_has_settled(
    session, send, joining
):
    send(ROOM, "broadcast", {}, ref="2")
    session.forget(ROOM, joining.number)
    send(ROOM, "broadcast", {}, ref="3")

    refused = session.settle(ROOM, joining.number, joined=True)
    assert list(refused) == [unmatched("2"), unmatched("3")]
    assert send(ROOM, "broadcast") == [unmatched()]
    assert send(ROOM, "phx_join")[0].replaces is None


# Pushes to a joined topic


@pytest.mark.parametrize("join_ref", ["1", "0", None, 1])
def test_a_stale_or_missing_join_ref_is_accepted_and_the_joins_own_is_echoed(
    send, joined, join_ref
):
    assert send(ROOM, "broadcast", b'{"x":1}', "5", join_ref) == [
        Broadcast(ROOM, 1, "5", "1", TextBroadcast(b'{"x":1}'))
    ]
    assert send(ROOM, "access_token", {"access_token": "t"}, "5", join_ref) == [
        AccessToken(ROOM, 1, "t")
    ]
    assert send(ROOM, "presence", {}, "5", join_ref) == [
        PresencePush(ROOM, 1, "5", "1", PresenceAction.NOTHING)
    ]


@pytest.mark.parametrize("payload", [b"null", b"5", b'"x"', b"[1, 2]", b'{ "a":1.0, "a":2 }'])
def test_any_payload_of_a_text_broadcast_is_kept_byte_for_byte(send, joined, payload):
    (broadcast,) = send(ROOM, "broadcast", payload)

    assert broadcast.message == TextBroadcast(payload)


@pytest.mark.parametrize(
    ("payload", "token"),
    [
        ({"access_token": "t"}, "t"),
        ({"access_token": ""}, ""),
        ({"access_token": None}, None),
        ({"access_token": 5}, None),
        ({"access_token": {}}, None),
        ({"access_token": 5, "x": {}}, None),
        (b"{}", None),
        (b"null", None),
        (b'"t"', None),
        (b'{"access_token":1e999}', None),
    ],
)
def test_a_token_that_is_no_string_is_none(send, joined, payload, token):
    assert send(ROOM, "access_token", payload) == [AccessToken(ROOM, 1, token)]


TRACK, UNTRACK = PresenceAction.TRACK, PresenceAction.UNTRACK
NOTHING, UNKNOWN = PresenceAction.NOTHING, PresenceAction.UNKNOWN


@pytest.mark.parametrize(
    ("payload", "action", "tracked"),
    [
        (b'{"type":"presence","event":"track","payload":{ "x":1.0 }}', TRACK, b'{ "x":1.0 }'),
        (b'{"event":"TrAcK","payload":{"x":1}}', TRACK, b'{"x":1}'),
        (b'{"type":"else","event":"track"}', TRACK, b"{}"),
        (b'{"event":"track","payload":null}', TRACK, None),
        (b'{"event":"track","payload":[{}]}', TRACK, None),
        (b'{"event":"track","payload":"{}"}', TRACK, None),
        (b'{"event":"untrack"}', UNTRACK, None),
        (b'{"event":"UNTRACK","payload":{"x":1}}', UNTRACK, None),
        (b'{"event":"tracks","payload":{}}', UNKNOWN, None),
        (b'{"event":""}', UNKNOWN, None),
        (b'{"event":null}', UNKNOWN, None),
        (b'{"event":1e999}', UNKNOWN, None),
        (b'{"event":["track"]}', UNKNOWN, None),
        (b'{"type":"presence","payload":{}}', NOTHING, None),
        (b"{}", NOTHING, None),
        (b"null", NOTHING, None),
        (b'["track"]', NOTHING, None),
    ],
)
def test_a_presence_push_is_read_leniently(send, joined, payload, action, tracked):
    assert send(ROOM, "presence", payload) == [PresencePush(ROOM, 1, "9", "1", action, tracked)]


@pytest.mark.parametrize("event", ["unknown", "", "heartbeat", "phx_reply", "phx_close"])
@pytest.mark.capability("SB-046")
def test_an_unknown_event_on_a_joined_topic_is_nothing_but_noted(send, joined, event):
    assert send(ROOM, event) == [UnknownPush(ROOM, joined.number)]


# Topics that are not joined


@pytest.mark.parametrize("ref", ["7", None, 7])
def test_a_heartbeat_is_passed_on_with_its_ref_and_without_looking_at_its_payload(send, ref):
    assert send("phoenix", "heartbeat", b"5", ref) == [Heartbeat("phoenix", ref)]


@pytest.mark.parametrize("event", ["broadcast", "presence", "access_token", "unknown", ""])
@pytest.mark.parametrize("topic", [ROOM, "phoenix", "other", ""])
def test_any_event_on_an_unknown_topic_is_unmatched(send, topic, event):
    assert send(topic, event) == [unmatched(topic=topic)]


def test_a_heartbeat_on_another_topic_is_unmatched(send):
    assert send(ROOM, "heartbeat") == [unmatched()]


@pytest.mark.parametrize("topic", ["room", "phoenix", "realtime", "", "Realtime:room"])
def test_a_join_without_the_prefix_is_unmatched(send, topic):
    assert send(topic, "phx_join") == [unmatched(topic=topic)]


def test_a_join_without_a_sub_topic_needs_a_name(send):
    (join,) = send("realtime:", "phx_join")

    assert join.fault == JoinFault("TopicNameRequired", "You must provide a topic name")


@pytest.mark.parametrize("payload", [b"null", b"5", b'"x"', b"[]"])
@pytest.mark.capability("SB-071")
def test_a_join_whose_payload_is_no_object_has_a_fault_and_is_joined_by_nobody(
    session, send, payload
):
    (join,) = send(ROOM, "phx_join", payload)

    assert join.fault == NO_OBJECT
    assert send(ROOM, "broadcast") == []
    assert session.settle(ROOM, join.number, joined=False) == [unmatched()]
    assert send(ROOM, "broadcast") == [unmatched()]


def test_a_join_with_a_fault_replaces_an_earlier_one_like_any_other(send, joined):
    (join,) = send(ROOM, "phx_join", b"null")

    assert (join.fault, join.replaces) == (NO_OBJECT, joined.number)


def test_a_topic_over_the_limit_is_unmatched(send):
    topic = "realtime:".ljust(TOPIC_LIMIT, "x")

    assert isinstance(send(topic, "phx_join")[0], Join)
    assert send(topic + "x", "phx_join") == [unmatched(topic=topic + "x")]


# Limits


def test_more_channels_than_the_limit_are_refused_until_one_is_left(version):
    decode = v1.decode if version == "1.0.0" else v2.decode
    session = PhoenixSession(decode, channels_limit=2)

    def join(n):
        return session.receive(frame(version, f"realtime:{n}", "phx_join", {}, "9", "1"))[0]

    assert [join(n).fault for n in (0, 1, 1)] == [None, None, None]
    assert join(2).fault == TOO_MANY
    session.receive(frame(version, "realtime:0", "phx_leave"))
    assert join(2).fault is None


def test_the_bytes_of_joins_are_bounded_and_freed_again():
    session = PhoenixSession(v2.decode, held_limit_bytes=1000)

    def join(topic):
        payload = {"access_token": "x" * 400}
        return session.receive(frame("2.0.0", topic, "phx_join", payload, "9", "1"))[0]

    for _ in range(5):
        assert join("realtime:a").fault is None
        assert join("realtime:b").fault is None
        second = join("realtime:b")
        assert second.fault is None
        third = join("realtime:c")
        assert third.fault == TOO_MANY
        session.settle("realtime:c", third.number, joined=False)
        session.receive(frame("2.0.0", "realtime:a", "phx_leave"))
        session.settle("realtime:b", second.number, joined=False)


# Frames that are not quite JSON


@pytest.mark.parametrize(
    "payload",
    [
        b'{"config":{"presence":{"key":"\\ud800"}}}',
        b'{"config":{"postgres_changes":[{"schema":"\\udc00\\ud800"}]}}',
        b'{"access_token":"\\\\\\uDFFF"}',
        b'{"\\ud83d\\ude00\\ud83d":1}',
    ],
)
def test_a_join_with_half_a_surrogate_pair_is_answered(session, send, payload):
    (join,) = send(ROOM, "phx_join", payload, ref="5", join_ref="5")

    assert (join.topic, join.ref, join.fault) == (ROOM, "5", HALF_A_PAIR)
    assert list(session.settle(ROOM, join.number, joined=False)) == []


@pytest.mark.parametrize("text", [b'"\\ud83d\\ude00"', b'"\\\\ud800"'])
def test_a_whole_surrogate_pair_is_a_character(send, text):
    (join,) = send(ROOM, "phx_join", b'{"config":{"presence":{"key":%b}}}' % text)

    assert join.fault is None


def test_anything_else_with_half_a_surrogate_pair_is_dropped(send, joined):
    with pytest.raises(MalformedFrame):
        send(ROOM, "broadcast", b'{"x":"\\ud800"}')


# Frames that are dropped


@pytest.mark.capability("SB-045")
def test_a_malformed_frame_has_no_effect(session, version, joined):
    with pytest.raises(MalformedFrame):
        session.receive("{")
    with pytest.raises(MalformedFrame):
        session.receive(b"")

    (command,) = session.receive(frame(version, ROOM, "broadcast"))
    assert isinstance(command, Broadcast)


# Binary frames of 2.0.0


def binary_push(event, payload=b"data", topic=ROOM):
    message = UserBroadcast(event, payload, is_binary=True)
    return binary.encode_push(BinaryPush("1", "9", topic, event, message))


@pytest.fixture
def modern():
    session = PhoenixDialect("2.0.0").session()
    session.receive(frame("2.0.0", ROOM, "phx_join", {}, "1", "1"))
    session.settle(ROOM, 1, joined=True)
    return session


def test_a_user_broadcast_push_is_a_broadcast(modern):
    message = UserBroadcast("mv", b'{"x":1}', is_binary=False)
    push = BinaryPush(None, "5", ROOM, "broadcast", message)

    assert list(modern.receive(binary.encode_user_broadcast_push(push))) == [
        Broadcast(ROOM, 1, "5", "1", message)
    ]


def test_a_binary_push_of_broadcast_is_a_binary_user_broadcast_of_that_name(modern):
    assert list(modern.receive(binary_push("broadcast", b"\xff"))) == [
        Broadcast(ROOM, 1, "9", "1", UserBroadcast("broadcast", b"\xff", is_binary=True))
    ]


def test_binary_pushes_of_other_events_are_treated_as_their_text_without_an_object(modern):
    assert list(modern.receive(binary_push("unknown"))) == [UnknownPush(ROOM, 1)]
    assert list(modern.receive(binary_push("access_token"))) == [AccessToken(ROOM, 1, None)]
    assert list(modern.receive(binary_push("heartbeat", topic="phoenix"))) == [
        Heartbeat("phoenix", "9")
    ]
    (join,) = modern.receive(binary_push("phx_join"))
    assert join.fault == NO_OBJECT
    assert list(modern.receive(binary_push("phx_leave"))) == [Leave(ROOM, 2, "9", "1")]


def test_binary_kinds_that_only_a_server_sends_are_unknown(modern):
    with pytest.raises(UnknownFrame):
        modern.receive(b"\x04\x00\x00\x00\x00")


def test_a_binary_frame_of_1_0_0_is_read_as_json():
    session = PhoenixDialect("1.0.0").session()

    assert list(session.receive(frame("1.0.0", "phoenix", "heartbeat", {}, "1").encode())) == [
        Heartbeat("phoenix", "1")
    ]
