"""The heartbeat of a server: frames that show a quiet client that it is there.

Started by the connection if its dialect has one; the heartbeats of clients are commands like others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from actors.realtime.ports import Outbox
    from protocol.dialect import ServerHeartbeat


async def beat(heartbeat: ServerHeartbeat, outbox: Outbox) -> None:
    """Show the client at regular intervals that the server is there, until cancelled."""
    data = b"".join([frame.wire() for frame in heartbeat.frames])
    while True:
        await trio.sleep(heartbeat.interval_s)
        outbox.push(data)
