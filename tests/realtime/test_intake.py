"""What a connection does with the frames of its client: at once, later, or not at all."""

from __future__ import annotations

from actors.core.reports import CrashReport
from protocol.phoenix import PhoenixDialect
from tests.support.memory_tenant import open_stage


class FaultySession:
    """A session that has a bug: one frame makes it fail."""

    def __init__(self, session) -> None:
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def receive(self, data):
        if data == "boom":
            raise ZeroDivisionError
        return self._session.receive(data)


class FaultyDialect(PhoenixDialect):
    def session(self, *args):
        return FaultySession(super().session(*args))


async def test_a_bug_in_the_turn_that_reads_is_charged_to_its_connection(autojump_clock):
    async with open_stage() as stage:
        unlucky = stage.connect(dialect=FaultyDialect("2.0.0"))
        other = stage.connect()
        await unlucky.joined()
        await other.joined()
        unlucky.send_raw("boom")
        await other.received()

        (report,) = [one for one in stage.reports if isinstance(one, CrashReport)]
        assert (report.name, report.error) == ("conn_1", "ZeroDivisionError")
        assert unlucky.socket.outbox.close_code == 1011
        assert other.socket.outbox.close_code is None
        await other.joined("realtime:next")


async def test_what_follows_a_command_that_waits_keeps_its_place(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        join_ref = await client.joined()
        leave = client.push("phx_leave", join_ref=join_ref)
        heartbeat = client.push("heartbeat", topic="phoenix")
        again = client.join()

        messages = await client.received()

    refs = [message.ref for message in messages if message.event == "phx_reply"]
    assert refs == [leave, heartbeat, again]


async def test_a_bug_that_is_met_while_the_connection_ends_is_nobody_elses(autojump_clock):
    async with open_stage() as stage:
        client = stage.connect()
        await client.joined()
        receiver = client.socket._receiver
        client.leave_socket()
        await client.received()

        receiver.fail(ZeroDivisionError())
        await client.received()
        assert stage.reports == []
