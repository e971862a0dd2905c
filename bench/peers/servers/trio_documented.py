"""Broadcast server on `trio-websocket` as documented: a handler for each connection, and a task that writes to it.

On the path `/own` a text is sent back to its sender.
Elsewhere a connection's first text is its join, which is sent back to it alone; every later one is put into the
memory channel of each joined connection, whose task sends it.
"""

import json
import sys

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
)

#: More than any workload has outstanding.
WAITING_MAX = 4096

joined: set[trio.MemorySendChannel[str | bytes]] = set()


async def handle(request: WebSocketRequest) -> None:
    connection = await request.accept()
    try:
        if request.path == "/own":
            while True:
                await connection.send_message(await connection.get_message())
        await connection.send_message(await connection.get_message())
        await relay(connection)
    except ConnectionClosed:
        pass  # the load generator has ended


async def relay(connection: WebSocketConnection) -> None:
    sender, receiver = trio.open_memory_channel[str | bytes](WAITING_MAX)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, connection, receiver)
        joined.add(sender)
        try:
            while True:
                message = await connection.get_message()
                for channel in joined:
                    channel.send_nowait(message)
        except ConnectionClosed:
            nursery.cancel_scope.cancel()
        finally:
            joined.discard(sender)


async def write(
    connection: WebSocketConnection, receiver: trio.MemoryReceiveChannel[str | bytes]
) -> None:
    try:
        async for message in receiver:
            await connection.send_message(message)
    except ConnectionClosed:
        pass  # its reader ends as well


async def main() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        server = WebSocketServer(handle, listeners)
        nursery.start_soon(server.run)
        port = listeners[0].socket.getsockname()[1]
        print(json.dumps({"event": "node.ready", "port": port}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    trio.run(main)
