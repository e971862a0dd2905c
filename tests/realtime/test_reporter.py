"""The reporter works for those who look, and for nobody else."""

from __future__ import annotations

import trio
import trio.testing

from actors.core.spec import ChildSpec, Restart
from actors.realtime.reporter import INTERVAL_S, SUB_TOPIC, ReporterActor
from tests.support.memory_tenant import open_stage

TOPIC = f"realtime:{SUB_TOPIC}"


class Reports:
    """Numbered reports; how often one was asked for is `count`, and `work` is done for each."""

    def __init__(self, work) -> None:
        self.count = 0
        self._work = work

    def __call__(self) -> bytes:
        self.count += 1
        self._work()
        return b'{"number": %d}' % self.count


def start_reporter(stage, work=lambda: None) -> Reports:
    reports = Reports(work)
    spec = ChildSpec(
        "reporter", lambda: ReporterActor(stage.tenant, reports), 3, Restart.PERMANENT
    )
    stage.connections_supervisor.start_child(spec)
    return reports


async def test_nothing_is_read_while_nobody_looks(autojump_clock):
    async with open_stage() as stage:
        reports = start_reporter(stage)
        await stage.connect().joined()
        await trio.sleep(100 * INTERVAL_S)

        assert reports.count == 0


async def test_who_looks_hears_a_report_every_interval_until_nobody_does(autojump_clock):
    async with open_stage() as stage:
        reports = start_reporter(stage)
        client = stage.connect(role="service_role")
        await client.joined(TOPIC, private=True)
        await trio.sleep(3.5 * INTERVAL_S)

        heard = [message.payload for message in await client.received()]
        client.leave_socket()
        await trio.sleep(10 * INTERVAL_S)

        assert heard == [
            {"type": "broadcast", "event": "report", "payload": {"number": number}}
            for number in (1, 2, 3)
        ]
        assert reports.count == 3


async def test_it_reports_on_after_a_crash(autojump_clock):
    async with open_stage() as stage:
        reports = start_reporter(stage)
        client = stage.connect(role="service_role")
        await client.joined(TOPIC, private=True)
        ref = stage.connections_supervisor.find("reporter")
        assert stage.connections_supervisor.poison(ref)
        await trio.sleep(1.5 * INTERVAL_S)

        assert len(await client.received()) == reports.count == 1


async def test_reports_that_take_long_come_less_often(mock_clock):
    async with open_stage() as stage:
        reports = start_reporter(stage, work=lambda: mock_clock.jump(0.1))
        client = stage.connect(role="service_role")
        await client.joined(TOPIC, private=True)
        mock_clock.autojump_threshold = 0
        await trio.sleep(60)

        # A tenth of a second each, and of the time a fiftieth: one in five seconds.
        assert reports.count == 12
