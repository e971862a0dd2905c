"""What a member of a channel pushes: whether it may, and what becomes of a member that had better not.

Called by the connection for what cannot be carried out at once, presence and the broadcasts that have to wait.
Asks `managed_pushes.py` and the policies (`permissions.py`), then has `publisher.py` or `tracker.py` do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.realtime.managed_pushes import refusal_of, refuse
from protocol.commands import Broadcast

if TYPE_CHECKING:
    from actors.realtime.memberships import Memberships
    from actors.realtime.publisher import Publisher
    from actors.realtime.seat import Seat
    from actors.realtime.tracker import Tracker
    from actors.telemetry.metrics import Metrics
    from protocol.commands import PresencePush


async def carry_out_push(
    command: Broadcast | PresencePush,
    memberships: Memberships,
    publisher: Publisher,
    tracker: Tracker,
    seat: Seat,
    metrics: Metrics,
) -> None:
    """Carry out what a member pushed, if it is one; waits for policies and for a channel that is full."""
    membership = memberships.find(command.topic, command.number)
    if membership is None:
        return
    refused = refusal_of(command, membership, seat.tenant)
    if refused is not None:
        refuse(refused, command, membership, seat, metrics)
        return
    is_allowed = True
    if membership.channel_key.is_private:
        is_allowed = await membership.permissions.allow(command)
        if memberships.find(command.topic, command.number) is None:
            # It ended while policies were asked, and its client was told why.
            return
    if isinstance(command, Broadcast):
        end = await publisher.publish(command, membership, is_allowed=is_allowed)
    else:
        end = tracker.carry_out(command, membership, may_track=is_allowed)
    if end is not None:
        await memberships.expel(membership, end)
