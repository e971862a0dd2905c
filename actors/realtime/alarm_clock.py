"""AlarmClock: sleeps until the next alarm of a connection is due, and lets it ring.

One for all connections of a tenant. Neighbours: connections set their alarms in the table `Alarms` (`alarm.py`),
and are told `AlarmRang`.

Truth: none; the table is an heir. Rank 3, takes no messages, waits for nobody.
Recovery: rung 1, the next incarnation goes by the same table: what was due meanwhile rings late, and nothing is missed.
It is restarted for ever, for without it no token would be verified again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

import trio

from actors.core.signals import Stopping
from actors.core.spec import ChildSpec, Restart

if TYPE_CHECKING:
    from actors.core.inbox import Inbox
    from actors.realtime.alarm import Alarms

#: So many ring before others get a turn.
AT_A_TIME: Final = 64


class AlarmClock:
    """The actor; see the module's text."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms

    async def run(self, inbox: Inbox[Never]) -> None:
        """Ring until told to stop."""
        inbox.ready()
        while True:
            with self._alarms.sleep():
                if isinstance(await inbox.take(), Stopping):
                    return
            await self._ring()

    async def _ring(self) -> None:
        while True:
            for _ in range(AT_A_TIME):
                if not self._alarms.ring_one():
                    return
            await trio.lowlevel.checkpoint()


def alarm_clock_spec(alarms: Alarms) -> ChildSpec[Never]:
    """Return how the clock of these alarms is started, again and again."""
    return ChildSpec(
        name="alarm_clock",
        factory=lambda: AlarmClock(alarms),
        rank=3,
        restart=Restart.PERMANENT,
        heir=alarms,
    )
