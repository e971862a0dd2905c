"""A crowd of clients on plain sockets, in one loop without tasks: it counts what it is sent and parses next to nothing.

Five thousand clients that parse JSON would be slower than any server.
So one of them, the witness, is read by the test; of the others only frames and bytes are counted.
Whoever is on a topic all the time is sent the same frames, so who got as many bytes as the witness got the same.
"""

from __future__ import annotations

import base64
import json
import resource
import select
import socket
import time
from typing import TYPE_CHECKING, Self

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MASK = b"\x00\x00\x00\x00"
HANDSHAKES_AT_ONCE = 100


def raise_file_limit(count: int) -> bool:
    """Let this process and its children have so many files open; False if the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            return False
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True


def masked(text: str) -> bytes:
    """Return a client's text frame; a mask of zeros is a mask."""
    data = text.encode()
    if len(data) < 126:
        return bytes((0x81, 0x80 | len(data))) + MASK + data
    return bytes((0x81, 0xFE)) + len(data).to_bytes(2, "big") + MASK + data


@define(eq=False)
class Visitor:
    """One client; `received_bytes` and `frames` count what came since `reset`, whole frames or not."""

    number: int
    sock: socket.socket
    is_witness: bool = False
    is_open: bool = False
    is_cut: bool = False
    received_bytes: int = 0
    frames: int = 0
    #: What a witness was sent, as JSON values.
    messages: list = field(factory=list)
    _head: bytes = b""
    _skip: int = 0

    def send(self, *message: object) -> None:
        self.sock.sendall(masked(json.dumps(message)))

    def reset(self) -> None:
        self.received_bytes = self.frames = 0
        self.messages.clear()

    def take(self, data: memoryview) -> None:
        """Count what came."""
        if not self.is_open:
            self._shake_hands(data)
            return
        self.received_bytes += len(data)
        if self._skip > len(data):
            self._skip -= len(data)
            if self.is_witness:
                self._head += data
            return
        if self.is_witness:
            self._read(self._head + data)
        else:
            self._count(data)

    def _shake_hands(self, data: memoryview) -> None:
        self._head += data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if found:
            assert head.startswith(b"HTTP/1.1 101"), head
            self.is_open, self._head = True, b""
            if rest:
                self.take(memoryview(rest))

    def _count(self, data: memoryview) -> None:
        at = self._skip
        if self._head:
            # A header that was cut in two.
            data = memoryview(self._head + bytes(data))
            self._head = b""
        while at < len(data):
            header, length = frame_size(data[at : at + 10])
            if not header:
                self._head, at = bytes(data[at:]), len(data)
                break
            self.frames += 1
            at += header + length
        self._skip = at - len(data)

    def _read(self, data: bytes) -> None:
        at = 0
        while True:
            header, length = frame_size(data[at : at + 10])
            end = at + header + length
            if not header or end > len(data):
                break
            self.frames += 1
            if data[at] == 0x81:
                self.messages.append(json.loads(data[at + header : end]))
            at = end
        self._head = data[at:]
        self._skip = (end - len(data)) if header else 0


def frame_size(head: bytes | memoryview) -> tuple[int, int]:
    """Return the lengths of a frame's header and of its payload; (0, 0) if the header is not whole."""
    if len(head) < 2:
        return 0, 0
    short = head[1] & 0x7F
    size = {126: 4, 127: 10}.get(short, 2)
    if len(head) < size:
        return 0, 0
    return size, short if size == 2 else int.from_bytes(head[2:size], "big")


class Crowd:
    """Visitors and the loop that listens to them; the first one is the witness."""

    def __init__(self, port: int, target: str) -> None:
        self._port = port
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._poll = select.epoll()
        self._by_fd: dict[int, Visitor] = {}
        self._buffer = memoryview(bytearray(1 << 20))
        self.visitors: list[Visitor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave(self.visitors)
        self._poll.close()

    def connect(self, count: int, *, witness: bool = False) -> list[Visitor]:
        """Open so many connections."""
        opened = []
        for number in range(len(self.visitors), len(self.visitors) + count):
            sock = socket.create_connection(("127.0.0.1", self._port))
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            visitor = Visitor(number, sock, is_witness=witness)
            self._by_fd[sock.fileno()] = visitor
            self._poll.register(sock.fileno(), select.EPOLLIN)
            sock.sendall(self._request)
            opened.append(visitor)
            if number % HANDSHAKES_AT_ONCE == 0:
                self.listen_until(lambda: all(one.is_open for one in opened), 30)
        self.listen_until(lambda: all(one.is_open for one in opened), 30)
        self.visitors += opened
        return opened

    def leave(self, visitors: Iterable[Visitor]) -> None:
        """Close sockets without a word."""
        for visitor in tuple(visitors):
            if self._by_fd.pop(visitor.sock.fileno(), None):
                self._poll.unregister(visitor.sock.fileno())
            visitor.sock.close()

    def listen_until(self, is_done: Callable[[], bool], within_s: float) -> float:
        """Listen until something is so, and return the seconds it took."""
        start = time.monotonic()
        while not is_done():
            if time.monotonic() - start > within_s:
                raise TimeoutError(f"not within {within_s} s")
            self.listen(0.05)
        return time.monotonic() - start

    def listen(self, timeout_s: float = 0) -> None:
        """Take what came."""
        for fd, _ in self._poll.poll(timeout_s):
            visitor = self._by_fd[fd]
            try:
                size = visitor.sock.recv_into(self._buffer)
            except ConnectionResetError:
                size = 0
            if size:
                visitor.take(self._buffer[:size])
            else:
                visitor.is_cut = True
                self._poll.unregister(fd)
                del self._by_fd[fd]
