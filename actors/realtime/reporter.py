"""ReporterActor: shows a tenant to its operators, live.

While anybody is subscribed to its topic it broadcasts a report there, once a second or less often; else it rests.
Neighbours: reads the tables of the tenant through `snapshot.py`, tells the channel of its topic like any publisher.

Truth: none. Rank 3, takes no messages. Recovery: the next incarnation reports on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

import trio

from actors.core.signals import Stopping
from actors.realtime.messages import ChannelKey, Publish
from actors.realtime.reserved import PREFIX
from protocol.events import TextBroadcast

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.inbox import Inbox
    from actors.realtime.tenant import Tenant

#: Where reports are broadcast; private, and of the service role alone.
SUB_TOPIC: Final = PREFIX + "stats"
EVENT: Final = "report"
#: Seconds between two reports, at the least.
INTERVAL_S: Final = 1.0
#: The part of the time that reports may take: the loop stands still for one, and a large tenant takes longer.
SHARE: Final = 0.02


class ReporterActor:
    """See the module's text; `report` returns a JSON object and never waits."""

    def __init__(self, tenant: Tenant, report: Callable[[], bytes]) -> None:
        self._tenant = tenant
        self._report = report
        self._key = ChannelKey(tenant.name, is_private=True, sub_topic=SUB_TOPIC)

    async def run(self, inbox: Inbox[Never]) -> None:
        """Report until told to stop."""
        inbox.ready()
        pause_s = INTERVAL_S
        while True:
            with trio.move_on_after(pause_s):
                async for signal in inbox:
                    if isinstance(signal, Stopping):
                        return
            begun_at = trio.current_time()
            self._publish()
            pause_s = max(INTERVAL_S, (trio.current_time() - begun_at) / SHARE)

    def _publish(self) -> None:
        channel = self._tenant.channels.get(self._key)
        if channel is None:
            return
        payload = b'{"type":"broadcast","event":"%b","payload":%b}' % (
            EVENT.encode(),
            self._report(),
        )
        # One that finds no room is made up for by the next.
        channel.tell(Publish(TextBroadcast(payload)))
