"""What supervisors report, logged, counted and remembered for a while: one observer for the whole tree."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import structlog
from attrs import asdict, frozen

from actors.core.reports import CrashReport, GiveUpReport, OverdueReport, RestartReport
from actors.realtime.messages import ChannelKey, PresenceKey, RowsKey

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from structlog.stdlib import BoundLogger

    from actors.core.reports import Report
    from actors.telemetry.metrics import ActorKind, Metrics

#: Names of static actors to the kind they are counted under; the rest of the tree is supervisors.
STATIC_KINDS: dict[Hashable, ActorKind] = {
    "acceptor": "acceptor",
    "alarm_clock": "alarm_clock",
    "channel_keeper": "resource",
    "key_set": "resource",
    "listener": "listener",
    "postgres": "resource",
    "reactor": "reactor",
    "relay": "relay",
    "reporter": "reporter",
}
#: How many incidents are remembered.
INCIDENTS: Final = 50


@frozen
class Incident:
    """Something that went wrong with an actor; `at` is in seconds since 1970-01-01 UTC, `error` a type's name."""

    at: float
    actor: str
    what: str
    error: str = ""

    def describe(self) -> dict[str, Any]:
        """Return its fields; JSON values only."""
        return asdict(self)


class Observer:
    """Takes the reports of every supervisor; never raises.

    `now` returns seconds since 1970-01-01 UTC.
    """

    def __init__(self, metrics: Metrics, now: Callable[[], float]) -> None:
        self._metrics = metrics
        self._now = now
        self.crashes = 0
        self.restarts = 0
        #: The last ones, oldest first.
        self.incidents: deque[Incident] = deque(maxlen=INCIDENTS)
        self._log: BoundLogger = structlog.get_logger()

    def __call__(self, report: Report) -> None:
        """Log a report and count it."""
        kind = kind_of(report.name)
        actor = label_of(report.name)
        match report:
            case CrashReport(_, incarnation, message, error, stack):
                self._metrics.actor_crashes[kind].inc()
                self.crashes += 1
                self._remember(actor, "crashed", error)
                self._log.error(
                    "actor.crashed",
                    actor=actor,
                    incarnation=incarnation,
                    message=message,
                    error=error,
                    trace=stack,
                )
            case RestartReport(_, incarnation, delay_s):
                self._metrics.actor_restarts[kind].inc()
                self.restarts += 1
                self._log.info(
                    "actor.restarted", actor=actor, incarnation=incarnation, delay_s=delay_s
                )
            case GiveUpReport(_, crashes):
                self._remember(actor, "given up")
                self._log.error("actor.given_up", actor=actor, crashes=crashes)
            case OverdueReport(_, stack):
                self._remember(actor, "overdue")
                self._log.error("actor.overdue", actor=actor, trace=stack)

    def _remember(self, actor: str, what: str, error: str = "") -> None:
        self.incidents.append(Incident(self._now(), actor, what, error))


def kind_of(name: Hashable) -> ActorKind:
    """Return what kind of actor has that name."""
    match name:
        case ChannelKey():
            return "channel"
        case RowsKey():
            return "rows"
        case PresenceKey():
            return "presence"
        case str() if name.startswith("conn_"):
            return "connection"
        case _:
            return STATIC_KINDS.get(name, "supervisor")


def label_of(name: Hashable) -> str:
    """Return a name as it is written in the log."""
    match name:
        case RowsKey(channel):
            return f"rows:{topic_of(channel)}"
        case PresenceKey(channel):
            return f"presence:{topic_of(channel)}"
        case ChannelKey():
            return f"channel:{topic_of(name)}"
        case _:
            return str(name)


def topic_of(channel: ChannelKey) -> str:
    """Return a channel's topic as it is written in the log; private ones are told apart."""
    return ("private:" if channel.is_private else "public:") + channel.sub_topic
