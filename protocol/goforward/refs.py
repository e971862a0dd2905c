"""What the session calls joins and pushes, for `render` to know what an answer is about.

GoForward clients have no refs of their own, so these never leave the server.
"""

from __future__ import annotations

from typing import Final

#: Joins, as `join_ref`.
CHANNEL: Final = "channel"
SUBSCRIPTION: Final = "subscription"

#: Pushes, as `ref`; `FAULT` is one that made no sense.
BROADCAST: Final = "broadcast"
PRESENCE: Final = "presence"
#: A client is present by having come, and has not asked for that: it is not told if it may not be.
ARRIVAL: Final = "arrival"
PING: Final = "ping"
FAULT: Final = "fault"
