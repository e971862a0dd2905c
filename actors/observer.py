"""What supervisors report, logged and counted: one observer for the whole tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from actors.core.reports import CrashReport, GiveUpReport, OverdueReport, RestartReport
from actors.realtime.messages import ChannelKey, PresenceKey, RowsKey

if TYPE_CHECKING:
    from collections.abc import Hashable

    from structlog.stdlib import BoundLogger

    from actors.core.reports import Report
    from actors.telemetry.metrics import ActorKind, Metrics

#: Names of static actors to the kind they are counted under; the rest of the tree is supervisors.
STATIC_KINDS: dict[Hashable, ActorKind] = {
    "acceptor": "acceptor",
    "key_set": "resource",
    "listener": "listener",
    "postgres": "resource",
    "reactor": "reactor",
    "relay": "relay",
}


class Observer:
    """Takes the reports of every supervisor; never raises."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log: BoundLogger = structlog.get_logger()

    def __call__(self, report: Report) -> None:
        """Log a report and count it."""
        kind = kind_of(report.name)
        actor = label_of(report.name)
        match report:
            case CrashReport(_, incarnation, message, error, stack):
                self._metrics.actor_crashes[kind].inc()
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
                self._log.info(
                    "actor.restarted", actor=actor, incarnation=incarnation, delay_s=delay_s
                )
            case GiveUpReport(_, crashes):
                self._log.error("actor.given_up", actor=actor, crashes=crashes)
            case OverdueReport(_, stack):
                self._log.error("actor.overdue", actor=actor, trace=stack)


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
