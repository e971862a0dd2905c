"""What a client is told whose connection the server ends, on each topic it is subscribed to.

Asked by the connection, which closes the socket behind it; how long the client may take to answer is here too.
How a single subscription ends is in `memberships.py`, when each client leaves a node that stops in `departures.py`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from protocol.events import System

if TYPE_CHECKING:
    from actors.realtime.memberships import Memberships
    from actors.realtime.seat import Seat

#: Seconds that a client has to answer the CLOSE frame which ends it for what it sent.
CLOSE_WITHIN_S = 5.0
NO_CHANNEL = "No channel was joined"
SLOW_CONSUMER = "This client reads too slowly and is disconnected"
RESTARTING = "Server requested disconnect"
#: A client that reads too slowly is told on no more topics than this: the farewell is bounded.
TOPICS_TOLD = 16


def tell_of_restart(memberships: Memberships, seat: Seat) -> None:
    """Tell a client that the node stops; it comes back by itself."""
    for topic in memberships.by_topic:
        seat.push(System(None, "system", ok=True, message=RESTARTING, channel=None), topic)


def farewell_to_slow_consumer(memberships: Memberships) -> bytes:
    """Return what a client is told that is cut because it reads too slowly."""
    told = islice(memberships.by_topic.values(), TOPICS_TOLD)
    return b"".join(
        member.encode(
            System(
                member.join_ref,
                "system",
                ok=False,
                message=SLOW_CONSUMER,
                channel=member.sub_topic,
                code="SlowConsumer",
            )
        )
        for member in told
    )
