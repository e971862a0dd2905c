"""What a member receives for a broadcast depends on where it came from: the table of spec 1.4, cell by cell."""

import pytest

from protocol.events import UserBroadcast
from protocol.frames import Frame, Opcode
from protocol.phoenix import PhoenixDialect, binary
from protocol.phoenix.envelope import BinaryPush
from tests.support.phoenix import ROOM, frame

PAYLOAD = b'{"type":"broadcast","event":"mv","payload":{"x":1.0},"extra":[ ]}'


def text(version, payload):
    return version, frame(version, ROOM, "broadcast", payload, "5", "1")


def user_push(payload, *, is_binary):
    message = UserBroadcast("mv", payload, is_binary)
    push = BinaryPush("1", "5", ROOM, "broadcast", message)
    return "2.0.0", binary.encode_user_broadcast_push(push)


def plain_push(payload):
    message = UserBroadcast("broadcast", payload, is_binary=True)
    return "2.0.0", binary.encode_push(BinaryPush("1", "5", ROOM, "broadcast", message))


def as_object(payload):
    head = b'{"ref":null,"topic":"realtime:room","event":"broadcast","payload":'
    return Frame(Opcode.TEXT, head + payload + b"}")


def as_array(payload):
    return Frame(Opcode.TEXT, b'[null,null,"realtime:room","broadcast",' + payload + b"]")


def as_kind_4(name, encoding, payload):
    head = bytes([4, len(ROOM), len(name), 0, encoding])
    return Frame(Opcode.BINARY, head + ROOM.encode() + name + payload)


WRAPPED = b'{"event":"mv","payload":{"x": 1.0},"type":"broadcast"}'


@pytest.mark.parametrize(
    ("sent", "to_v1", "to_v2"),
    [
        pytest.param(
            text("1.0.0", PAYLOAD), as_object(PAYLOAD), as_array(PAYLOAD), id="text 1"
        ),
        pytest.param(
            text("2.0.0", PAYLOAD), as_object(PAYLOAD), as_array(PAYLOAD), id="text 2"
        ),
        pytest.param(
            text("1.0.0", b"[1]"), as_object(b"[1]"), as_array(b"[1]"), id="no object 1"
        ),
        pytest.param(
            text("2.0.0", b"null"), as_object(b"null"), as_array(b"null"), id="null 2"
        ),
        pytest.param(
            user_push(b'{"x": 1.0}', is_binary=False),
            as_object(WRAPPED),
            as_kind_4(b"mv", 1, b'{"x": 1.0}'),
            id="kind 3 JSON",
        ),
        pytest.param(
            user_push(b"\xff\x00", is_binary=True),
            None,
            as_kind_4(b"mv", 0, b"\xff\x00"),
            id="kind 3 bytes",
        ),
        pytest.param(
            plain_push(b"\xff\x00"),
            None,
            as_kind_4(b"broadcast", 0, b"\xff\x00"),
            id="kind 0",
        ),
    ],
)
def test_a_broadcast_reaches_members_of_either_version_as_the_table_says(sent, to_v1, to_v2):
    version, data = sent
    session = PhoenixDialect(version).session()
    session.receive(frame(version, ROOM, "phx_join", {}, "1", "1"))
    session.settle(ROOM, 1, joined=True)
    (broadcast,) = session.receive(data)

    assert PhoenixDialect("1.0.0").frame(broadcast.message, ROOM) == to_v1
    assert PhoenixDialect("2.0.0").frame(broadcast.message, ROOM) == to_v2
