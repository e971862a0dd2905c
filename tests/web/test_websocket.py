"""WebSockets as their owner and their peer see them: memory sockets, virtual clock."""

from __future__ import annotations

import pytest
import trio
import wsproto
from attrs import define, field
from trio.testing import wait_all_tasks_blocked
from wsproto import events

from actors.realtime.errors import SocketClosed
from actors.web.options import WebSocketOptions
from actors.web.websocket import EVENTS_PER_TURN, WebSocket
from protocol.frames import CloseCode, Opcode, close
from tests.support.web import WebSocketPeers, text

LIMIT = 5_000_000


def masked_header(opcode: int, size: int) -> bytes:
    return bytes([0x80 | opcode, 0xFF]) + size.to_bytes(8, "big") + b"\0\0\0\0"


async def test_frames_pass_both_ways(autojump_clock):
    peers = WebSocketPeers()

    async with peers.open_socket() as socket:
        await peers.receive_101()
        await peers.client.send_event(events.TextMessage("question"))
        await peers.client.send_event(events.BytesMessage(b"\1"))
        assert await socket.receive() == "question"
        assert await socket.receive() == b"\1"
        socket.outbox.push(text("one") + text("two"))
        assert await peers.client.event() == "one"
        assert await peers.client.event() == "two"


async def test_fragments_arrive_as_one_message(autojump_clock):
    peers = WebSocketPeers()

    async with peers.open_socket() as socket:
        await peers.client.send_event(events.TextMessage("in ", message_finished=False))
        await peers.client.send_event(events.Ping(b"between"))
        await peers.client.send_event(events.TextMessage("parts"))

        assert await socket.receive() == "in parts"


async def test_pings_are_answered_in_order_with_what_is_pushed(autojump_clock):
    peers = WebSocketPeers()

    async with peers.open_socket() as socket:
        await peers.receive_101()
        socket.outbox.push(text("before"))
        await peers.client.send_event(events.Ping(b"?"))
        await wait_all_tasks_blocked()
        socket.outbox.push(text("after"))

        assert await peers.client.event() == "before"
        assert await peers.client.event() == events.Pong(bytearray(b"?"))
        assert await peers.client.event() == "after"


async def test_a_peer_that_is_gone_does_not_complete_the_handshake(autojump_clock):
    peers = WebSocketPeers()
    await peers.client.stream.aclose()

    with pytest.raises(SocketClosed):
        async with peers.open_socket():
            pytest.fail("nobody was there")

    assert peers.transport.is_closed


async def test_a_peer_that_does_not_read_its_handshake_is_closed(autojump_clock):
    peers = WebSocketPeers(window=10)
    start = trio.current_time()

    with pytest.raises(SocketClosed):
        async with peers.open_socket():
            pytest.fail("the 101 was not written")

    assert trio.current_time() - start <= 11
    assert peers.transport.is_closed


class TestOwnership:
    async def test_a_revoked_upgrade_cannot_be_entered(self, autojump_clock):
        peers = WebSocketPeers()
        peers.upgrade.revoke()

        with pytest.raises(SocketClosed):
            async with peers.open_socket():
                pytest.fail("it was too late")

        assert not peers.upgrade.is_claimed

    async def test_nobody_is_waited_for_longer_than_a_handshake(self, autojump_clock):
        start = trio.current_time()

        await WebSocketPeers(handshake_within_s=10).upgrade.wait_claimed()

        assert trio.current_time() - start == 10

    async def test_the_owners_exception_comes_out_as_it_is(self, autojump_clock):
        peers = WebSocketPeers()

        with pytest.raises(ZeroDivisionError):
            async with peers.open_socket():
                raise ZeroDivisionError

        await peers.receive_101()
        assert await peers.client.event() == 1011
        assert peers.transport.is_closed

    async def test_an_owner_that_has_ended_is_handed_nothing_while_the_rest_is_sent(
        self, autojump_clock, nursery
    ):
        peers = WebSocketPeers(window=200)
        owner = BusyOwner(0)

        async with peers.upgrade.open_socket() as socket:
            await socket.hand_to(owner)
            socket.outbox.push(text("x" * 1000))
            nursery.start_soon(_send_in_a_second, peers)

        assert owner.taken == []

    async def test_a_cancelled_owner_leaves_no_socket_behind(self, autojump_clock):
        peers = WebSocketPeers()

        with trio.move_on_after(1) as cancelled:
            async with peers.open_socket():
                await trio.sleep_forever()

        assert cancelled.cancelled_caught
        assert peers.transport.is_closed
        assert peers.cap.queued_bytes == 0

    async def test_nothing_can_be_pushed_after_the_end(self, autojump_clock):
        async with WebSocketPeers().open_socket() as socket:
            pass

        assert not socket.outbox.push(text("late"))


class TestClosing:
    async def test_a_peer_that_closes_gets_its_code_back(self, autojump_clock):
        peers = WebSocketPeers()

        async with peers.open_socket() as socket:
            await peers.receive_101()
            await peers.client.send_event(events.CloseConnection(4001, "bye"))
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()
            assert not socket.outbox.push(text("too late"))

        assert closed.value.code == 4001
        assert await peers.client.event() == 4001

    async def test_a_peer_that_vanishes_is_1006(self, autojump_clock):
        peers = WebSocketPeers()

        async with peers.open_socket() as socket:
            await peers.client.stream.aclose()
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()

        assert closed.value.code == 1006

    async def test_close_waits_for_the_peers_answer(self, autojump_clock, nursery):
        peers = WebSocketPeers()
        closed = trio.Event()

        async with peers.open_socket() as socket:
            await peers.receive_101()

            async def close_it():
                await socket.close(CloseCode.SERVICE_RESTART)
                closed.set()

            nursery.start_soon(close_it)
            assert await peers.client.event() == 1012
            for number in range(5):
                await peers.client.send_event(events.Ping(b"%d" % number))
                await peers.client.send_event(events.TextMessage("still talking"))
            await wait_all_tasks_blocked()
            assert not closed.is_set()
            await peers.client.send_event(events.CloseConnection(1012))
            await closed.wait()

        with pytest.raises(EOFError):
            await peers.client.event()

    async def test_leaving_tells_the_peer(self, autojump_clock):
        peers = WebSocketPeers()

        async with peers.open_socket():
            await peers.receive_101()

        assert await peers.client.event() == 1000

    @pytest.mark.capability("SB-067")
    async def test_receive_and_close_may_run_at_once(self, autojump_clock, nursery):
        peers = WebSocketPeers()
        codes = []

        async def read(socket):
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()
            codes.append(closed.value.code)

        async with peers.open_socket() as socket:
            await peers.receive_101()
            nursery.start_soon(read, socket)
            await wait_all_tasks_blocked()
            nursery.start_soon(socket.close, CloseCode.NORMAL)
            assert await peers.client.event() == 1000
            await peers.client.send_event(events.CloseConnection(1000))
            await wait_all_tasks_blocked()

        assert codes == [1000]


class TestLimits:
    @pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
    async def test_a_message_at_the_limit_passes(self, autojump_clock, opcode):
        peers = WebSocketPeers()

        async with peers.open_socket() as socket:
            await peers.client.send(masked_header(opcode, LIMIT) + b"x" * LIMIT)

            assert len(await socket.receive()) == LIMIT

    @pytest.mark.capability("SB-062")
    async def test_a_message_over_the_limit_is_1009(self, autojump_clock):
        peers = WebSocketPeers()

        async with peers.open_socket() as socket:
            await peers.receive_101()
            await peers.client.send(masked_header(Opcode.TEXT, LIMIT + 1) + b"x" * (LIMIT + 1))
            # What follows in the same read must not trip the library.
            await peers.client.send_event(events.Ping(b"?"))
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()

        assert closed.value.code == 1009
        assert await peers.client.event() == 1009

    async def test_the_limit_counts_bytes_not_characters(self, autojump_clock):
        peers = WebSocketPeers(max_message_bytes=10)

        async with peers.open_socket() as socket:
            await peers.receive_101()
            await peers.client.send_event(events.TextMessage("ööööö"))
            assert await socket.receive() == "ööööö"
            await peers.client.send_event(events.TextMessage("öööööö"))
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()

        assert closed.value.code == 1009
        assert await peers.client.event() == 1009

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            (b"\x83\x80\0\0\0\0", 1002),
            (b"\x81\x00", 1002),
            (b"\xc1\x80\0\0\0\0", 1002),
            (b"\x89\xfe\0\x7e\0\0\0\0", 1002),
            (b"\x80\x80\0\0\0\0", 1002),
            (b"\x81\x82\0\0\0\0\xff\xff", 1007),
        ],
        ids=["opcode", "unmasked", "compressed", "long ping", "lone fragment", "not UTF-8"],
    )
    async def test_a_protocol_violation_is_told(self, autojump_clock, frame, code):
        peers = WebSocketPeers()

        async with peers.open_socket() as socket:
            await peers.receive_101()
            await peers.client.send(frame)
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()

        assert closed.value.code == code
        assert await peers.client.event() == code

    @pytest.mark.capability("SB-060")
    async def test_a_silent_peer_is_closed_after_the_idle_limit(self, autojump_clock):
        peers = WebSocketPeers()

        async with peers.open_socket() as socket:
            await peers.receive_101()
            start = trio.current_time()
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()

        assert closed.value.code == 1000
        assert trio.current_time() - start == pytest.approx(60, abs=2)
        assert await peers.client.event() == 1000

    @pytest.mark.capability("SB-061")
    async def test_any_byte_resets_the_idle_limit(self, autojump_clock):
        peers = WebSocketPeers()

        async with peers.open_socket() as socket:
            for _ in range(5):
                await trio.sleep(59)
                await peers.client.send_event(events.Pong(b""))
            await peers.client.send_event(events.TextMessage("alive"))

            assert await socket.receive() == "alive"

    async def test_a_connection_that_its_owner_parks_is_not_idle(self, autojump_clock):
        peers = WebSocketPeers()

        async with peers.open_socket() as socket:
            for number in range(5):
                await peers.client.send_event(events.TextMessage(str(number)))
            await trio.sleep(300)

            assert [await socket.receive() for _ in range(5)] == list("01234")


async def test_a_close_frame_pushed_by_the_owner_is_the_last_word(autojump_clock):
    peers = WebSocketPeers()

    async with peers.open_socket() as socket:
        await peers.receive_101()
        socket.outbox.push(close(CloseCode.INTERNAL_ERROR))
        await peers.client.send_event(events.Ping(b"?"))
        await wait_all_tasks_blocked()

    assert await peers.client.event() == 1011
    with pytest.raises(EOFError):
        await peers.client.event()


async def _send_in_a_second(peers) -> None:
    await trio.sleep(1)
    await peers.client.send_event(events.TextMessage("too late"))


@define
class BusyOwner:
    """Is busy with the message of that number, and takes all others."""

    number: int
    taken: list = field(factory=list)

    def take(self, message) -> bool:
        self.taken.append(message)
        return len(self.taken) != self.number

    def note_end(self, code) -> None:
        pass


async def test_a_reader_does_not_go_on_for_an_owner_that_is_busy(nursery):
    peers = WebSocketPeers()
    client = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)
    messages = [f"{number}" for number in range(2 * EVENTS_PER_TURN)]
    socket = WebSocket(peers.transport, WebSocketOptions(), peers.cap, nursery.start_soon)
    owner = BusyOwner(EVENTS_PER_TURN)
    await socket.hand_to(owner)

    is_done = socket.consume(b"".join(client.send(events.TextMessage(m)) for m in messages))
    assert is_done
    assert owner.taken == messages[:EVENTS_PER_TURN]
    assert socket.go_on()
    assert owner.taken == messages[:EVENTS_PER_TURN]

    await socket.resume()
    assert owner.taken == messages
    socket.leave()
