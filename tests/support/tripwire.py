"""A tripwire: an outbox that crashes an actor when a fan-out comes by, so in the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from actors.core.errors import Poisoned

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.ref import Ref
    from actors.core.supervisor import Supervisor
    from actors.realtime.messages import ChannelKey
    from actors.realtime.roster import Subscription


class Tripwire:
    """Stands in for one subscriber's outbox; crashes the actor once, and lets every byte through."""

    def __init__(self, outbox, supervisor: Supervisor, ref: Ref) -> None:
        self._outbox = outbox
        self._supervisor = supervisor
        self._ref = ref
        self._is_armed = True
        #: Nothing is sent past it.
        self.is_held = True

    @staticmethod
    def push_all(pushes) -> int:
        return sum(outbox.push(data) for outbox, data in pushes)

    def push(self, data) -> bool:
        if self._is_armed:
            self._is_armed = False
            self._supervisor.fail(self._ref, Poisoned("in the middle of a fan-out"))
        return self._outbox.push(data)

    @property
    def queued_bytes(self) -> int:
        return self._outbox.queued_bytes

    async def wait_drained(self) -> None:
        await self._outbox.wait_drained()


def lay_tripwire(
    supervisor: Supervisor,
    channel: ChannelKey,
    ref: Ref,
    *,
    at: Callable[[Subscription], bool],
) -> None:
    """Put a tripwire for the actor `ref` into the first subscription of a channel that `at` picks."""
    roster = supervisor._children.find(channel).spec.heir
    is_laid = roster is None
    for subscription in roster or ():
        # All are entered again, so that they keep their order.
        roster.remove(subscription.key)
        entered = subscription
        if not is_laid and at(subscription):
            is_laid = True
            entered = evolve(
                subscription, outbox=Tripwire(subscription.outbox, supervisor, ref)
            )
        roster.add(entered)
    assert is_laid
