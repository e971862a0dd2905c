"""A TCP proxy on the loopback whose network can be cut: what goes through waits, or every connection is reset."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager, suppress

import trio

CHUNK_BYTES = 65536
#: With this, closing a socket sends RST in place of FIN.
LINGER_NOT = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards to one port of this machine; `port` is its own."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._is_whole = trio.Event()
        self._is_whole.set()
        self._open: set[trio.SocketStream] = set()
        self.port = 0
        self.accepted = 0

    def cut(self) -> None:
        """Stop forwarding in both directions; what is sent meanwhile arrives after `mend`, as TCP has it."""
        self._is_whole = trio.Event()

    def mend(self) -> None:
        """Forward again."""
        self._is_whole.set()

    def reset(self) -> None:
        """End every connection without a farewell, on both sides; what was on its way is lost."""
        for stream in self._open:
            if stream.socket.fileno() < 0:
                continue
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            stream.socket.close()

    async def serve(self, *, task_status=trio.TASK_STATUS_IGNORED) -> None:
        """Accept until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        await trio.serve_listeners(self._forward, [listener], task_status=task_status)

    async def _forward(self, near: trio.SocketStream) -> None:
        self.accepted += 1
        with self._noted(near):
            await self._is_whole.wait()
            try:
                far = await trio.open_tcp_stream("127.0.0.1", self._target_port)
            except OSError:
                return
            with self._noted(far):
                async with trio.open_nursery() as nursery:

                    async def pump(source, sink) -> None:
                        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                            while data := await source.receive_some(CHUNK_BYTES):
                                await self._is_whole.wait()
                                await sink.send_all(data)
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(pump, near, far)
                    nursery.start_soon(pump, far, near)

    def _noted(self, stream: trio.SocketStream):
        return _Noted(self._open, stream)


class _Noted:
    """Keeps a stream in the set of open ones for the length of a `with` block, and closes it then."""

    def __init__(self, streams: set[trio.SocketStream], stream: trio.SocketStream) -> None:
        self._streams = streams
        self._stream = stream

    def __enter__(self) -> None:
        self._streams.add(self._stream)

    def __exit__(self, *_exc_info) -> None:
        self._streams.discard(self._stream)
        self._stream.socket.close()


@asynccontextmanager
async def running_proxy(target_port: int):
    """Run a proxy for the length of a `with` block."""
    proxy = Proxy(target_port)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        try:
            yield proxy
        finally:
            nursery.cancel_scope.cancel()
