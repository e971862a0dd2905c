"""What a connection knows of a join that is under way.

One for each, kept by `joins.py` from the client's join until the answer to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

if TYPE_CHECKING:
    from actors.realtime.messages import SubscriptionEnded


@define
class PendingJoin:
    """A join under way: what cancels it, and what is set once it has ended one way or the other.

    `farewell` is for the join it replaced, to be sent behind its own answer.
    `end` is set when the channel ended the subscription before the join had.
    """

    topic: str
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    ended: trio.Event = field(factory=trio.Event)
    farewell: bytes = b""
    end: SubscriptionEnded | None = None
    is_refused: bool = False
