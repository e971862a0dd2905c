"""What operators are told of the tree: who went wrong lately, and nothing of what clients sent."""

from __future__ import annotations

import random

import trio
import trio.testing

from actors.core.reports import CrashReport, GiveUpReport, OverdueReport, RestartReport
from actors.core.spec import ChildSpec, Intensity, Restart
from actors.observer import INCIDENTS, Observer
from actors.realtime.messages import ChannelKey
from actors.supervision import SupervisionTree
from actors.telemetry.metrics import Metrics

CHANNEL = ChannelKey("default", is_private=True, sub_topic="room")
NOW = 1_000_000.0


class Idle:
    async def run(self, inbox):
        async for _ in inbox:
            pass


def test_incidents_say_when_who_and_what_oldest_first():
    observer = Observer(Metrics(), lambda: NOW)

    observer(CrashReport(CHANNEL, 1, "Publish", "ValueError", ("secret stack",)))
    observer(RestartReport(CHANNEL, 2, 0.0))
    observer(GiveUpReport("listener", 3))
    observer(OverdueReport("conn_1", ("secret stack",)))

    assert [incident.describe() for incident in observer.incidents] == [
        {"at": NOW, "actor": "channel:private:room", "what": "crashed", "error": "ValueError"},
        {"at": NOW, "actor": "listener", "what": "given up", "error": ""},
        {"at": NOW, "actor": "conn_1", "what": "overdue", "error": ""},
    ]
    assert (observer.crashes, observer.restarts) == (1, 1)


def test_the_oldest_incidents_are_forgotten():
    observer = Observer(Metrics(), lambda: NOW)

    for number in range(INCIDENTS + 1):
        observer(CrashReport(f"conn_{number}", 1, None, "ValueError", ()))

    assert len(observer.incidents) == INCIDENTS
    assert observer.incidents[0].actor == "conn_1"
    assert observer.crashes == INCIDENTS + 1


async def test_a_report_lists_so_many_actors_of_each_supervisor_and_counts_all(autojump_clock):
    tree = SupervisionTree(random.Random(1), Observer(Metrics(), lambda: NOW))
    root = tree.supervisor("root", Intensity())
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        for number in range(3):
            root.start_child(ChildSpec(f"conn_{number}", Idle, 3, Restart.PERMANENT))
        assert tree.crash_actor("conn_0")
        assert not tree.crash_actor("conn_9")
        await trio.testing.wait_all_tasks_blocked()

        (supervisor,) = tree.report(2)["supervisors"]
        nursery.cancel_scope.cancel()

    assert (supervisor["name"], supervisor["size"]) == ("root", 3)
    assert [(one["name"], one["restarts"]) for one in supervisor["actors"]] == [
        ("conn_0", 1),
        ("conn_1", 0),
    ]
