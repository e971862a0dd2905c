"""Our frames, close frames and boundaries against wsproto as the oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from protocol.frames import CloseCode, Frame, Opcode, close, header, next_boundary

# Around every change of the header's form, and the ends.
SIZES = [0, 1, 124, 125, 126, 127, 255, 256, 0xFFFF - 1, 0xFFFF, 0x10000, 0x10001, 100_000]

frames = st.builds(
    lambda opcode, size: Frame(opcode, b"x" * size),
    st.sampled_from([Opcode.TEXT, Opcode.BINARY]),
    st.sampled_from(SIZES) | st.integers(0, 300),
)


def by_wsproto(frame: Frame) -> bytes:
    server = Connection(ConnectionType.SERVER)
    if frame.opcode is Opcode.TEXT:
        return server.send(TextMessage(frame.payload.decode()))
    return server.send(BytesMessage(frame.payload))


@given(frames)
def test_a_frame_has_the_bytes_that_wsproto_sends(frame):
    assert frame.wire() == by_wsproto(frame)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_header_at_every_change_of_form_equals_that_of_wsproto(opcode, size):
    expected = by_wsproto(Frame(opcode, b"x" * size))

    assert header(opcode, size) == expected[: len(expected) - size]


@given(st.text(max_size=200))
def test_a_text_frame_is_read_back_by_a_client(text):
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(Frame(Opcode.TEXT, text.encode()).wire())

    assert "".join(event.data for event in client.events()) == text


@given(st.sampled_from(CloseCode), st.text(max_size=200))
def test_a_close_frame_is_read_by_a_client_with_its_code_and_the_reason_that_fits(code, reason):
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(close(code, reason))
    (event,) = client.events()

    fitting = (
        reason[:n] for n in range(len(reason), -1, -1) if len(reason[:n].encode()) <= 123
    )
    assert isinstance(event, CloseConnection)
    assert (event.code, event.reason or "") == (code, next(fitting))


def test_a_close_reason_is_cut_at_a_character():
    assert close(CloseCode.POLICY, "x" * 122 + "é")[4:] == b"x" * 122


@given(st.lists(frames, min_size=1, max_size=6), st.data())
def test_the_next_boundary_is_where_wsproto_begins_the_next_frame(batch, data):
    encoded = [by_wsproto(frame) for frame in batch]
    starts = [sum(map(len, encoded[:n])) for n in range(len(encoded) + 1)]
    offset = data.draw(st.integers(0, starts[-1]) | st.sampled_from(starts))
    joined = b"".join(encoded)

    expected = min(start for start in starts if start >= offset)
    assert next_boundary(joined, offset) == expected
    assert next_boundary(memoryview(joined), offset) == expected
