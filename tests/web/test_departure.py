"""Who has gone is gone: no connection waits for the collector of rings, which may not come by for an hour."""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import contextmanager

import pytest
import trio
from trio_websocket import open_websocket_url

from actors.core.cell import Cell
from actors.core.mailbox import Mailbox
from actors.realtime.connection import ConnectionActor
from actors.realtime.joins import Joins
from actors.realtime.memberships import Memberships
from actors.realtime.seat import Seat
from actors.web.outbox import Outbox
from actors.web.upgrade import Upgrade
from actors.web.websocket import WebSocket
from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint

OF_ONE_CONNECTION = (
    Cell,
    ConnectionActor,
    Joins,
    Mailbox,
    Memberships,
    Outbox,
    Seat,
    Upgrade,
    WebSocket,
)
VISITS = 5
JOIN = '["1","1","realtime:room","phx_join",{"config":{"presence":{"enabled":true}}}]'
TRACK = '["1","2","realtime:room","presence",{"type":"presence","event":"track","payload":{}}]'


@contextmanager
def uncollected():
    """Let nothing go but by its last reference."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left_behind() -> Counter[str]:
    """Return how many there are of what each connection has one of."""
    return Counter(
        type(one).__name__ for one in gc.get_objects() if isinstance(one, OF_ONE_CONNECTION)
    )


async def visit(node, *messages: str) -> None:
    token = mint("anon")
    url = f"ws://127.0.0.1:{node.port}/realtime/v1/websocket?apikey={token}&vsn=2.0.0"
    async with open_websocket_url(url) as client:
        for message in messages:
            await client.send_message(message)
            await client.get_message()


def is_more(before: Counter[str]) -> Counter[str]:
    """Return what there is more of; the reactor's frame may name the socket that it read last."""
    more = left_behind() - before
    return Counter({name: count for name, count in more.items() if count > 1})


@pytest.mark.parametrize(
    "messages", [(), (JOIN,), (JOIN, TRACK)], ids=["idle", "joined", "present"]
)
async def test_a_connection_that_has_gone_leaves_nothing_behind(messages):
    with trio.fail_after(20):
        async with running_node(None, jwt_secret=SECRET) as node:
            # What is made for the first client only stays.
            await visit(node, *messages)
            with uncollected():
                before = left_behind()
                for _ in range(VISITS):
                    await visit(node, *messages)
                with trio.move_on_after(3):
                    while is_more(before):  # noqa: ASYNC110  # nobody is told when an object goes
                        await trio.sleep(0.05)

                assert not is_more(before)
