"""What is logged of an actor that fails: one line for each report, with a level."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from actors.core.reports import CrashReport, GiveUpReport, OverdueReport, RestartReport
from actors.observer import Observer
from actors.realtime.messages import ChannelKey
from actors.telemetry.metrics import Metrics

ROOM = ChannelKey("test", False, "room")


@pytest.mark.capability("M5-080")
@pytest.mark.parametrize(
    ("report", "event", "level"),
    [
        (CrashReport(ROOM, 1, "Push", "ValueError", ("run",)), "actor.crashed", "error"),
        (RestartReport(ROOM, 2, 0.1), "actor.restarted", "info"),
        (GiveUpReport(ROOM, 6), "actor.given_up", "error"),
        (OverdueReport(ROOM, ("run",)), "actor.overdue", "error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_happens_to_an_actor_is_logged_with_a_level(report, event, level):
    with capture_logs() as lines:
        Observer(Metrics(), lambda: 0.0)(report)

    (line,) = lines
    assert (line["event"], line["log_level"]) == (event, level)
    assert line["actor"] == "channel:public:room"
