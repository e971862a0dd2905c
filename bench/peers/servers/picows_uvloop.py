"""Broadcast server on the core API of `picows` with uvloop.

On the path `/own` a text is sent back to its sender.
Elsewhere a connection's first text is its join, which is sent back to it alone; every later one goes to all joined
connections out of one buffer that has room for the frame's header, as the documentation advises for speed.
"""

import json
import sys
from typing import ClassVar

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

#: A frame's header has at most so many bytes.
HEADER = bytes(14)


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_memoryview())


class Shared(WSListener):
    joined: ClassVar[set[WSTransport]] = set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        buffer = bytearray(HEADER)
        buffer += frame.get_payload_as_memoryview()
        if transport not in self.joined:
            self.joined.add(transport)
            transport.send_reuse_external_bytearray(WSMsgType.TEXT, buffer, len(HEADER))
            return
        for connection in self.joined:
            connection.send_reuse_external_bytearray(WSMsgType.TEXT, buffer, len(HEADER))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.joined.discard(transport)


def listener(request: WSUpgradeRequest) -> WSListener:
    return Echo() if request.path == b"/own" else Shared()


async def main() -> None:
    server = await ws_create_server(listener, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"event": "node.ready", "port": port}), file=sys.stderr, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
