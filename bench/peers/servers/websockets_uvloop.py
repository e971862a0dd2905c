"""Broadcast server on `websockets` with uvloop, as the documentation of its `broadcast` function shows.

On the path `/own` a text is sent back to its sender.
Elsewhere a connection's first text is its join, which is sent back to it alone; every later one goes to all joined
connections by one call of `broadcast`, which frames it once.
Compression and keepalive are off.
"""

import json
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosedError

joined: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    try:
        if connection.request is not None and connection.request.path == "/own":
            async for message in connection:
                await connection.send(message)
            return
        await connection.send(await connection.recv())
        joined.add(connection)
        async for message in connection:
            broadcast(joined, message)
    except ConnectionClosedError:
        pass  # the load generator has ended
    finally:
        joined.discard(connection)


async def main() -> None:
    server = await serve(
        handle, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=1024
    )
    port = next(iter(server.sockets)).getsockname()[1]
    print(json.dumps({"event": "node.ready", "port": port}), file=sys.stderr, flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    uvloop.run(main())
