"""A crowd on one topic of a real server: everybody sees everybody, and when they go they are gone.

Short in every run; `TROUPE_TESTS=long` lets five thousand come and holds the server to its times, on a quiet machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from attrs import frozen

from tests.support.crowd import Crowd, raise_file_limit
from tests.support.extent import is_long
from tests.support.operating import Operator
from tests.support.requirements import require
from tests.support.server import running_server
from tests.support.tokens import mint

TOPIC = "realtime:hall"
#: Joins that wait for their answers at once, as of clients that do not all come in one moment.
WAVE = 250
#: For what is no subject of the test.
PATIENCE_S = 120.0

pytestmark = pytest.mark.slow


@frozen
class Extent:
    """How many come, and how long it may take that all are seen, and that a newcomer sees them."""

    crowd: int
    tracked_within_s: float
    state_within_s: float


EXTENT = Extent(5000, 10.0, 0.5) if is_long() else Extent(300, 60.0, 10.0)


@pytest.fixture
def server():
    # Sockets on both sides, and what else the server has open.
    require(raise_file_limit(EXTENT.crowd + 500), "More files must be allowed to be open.")
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server(Path(directory) / "data", {"REALTIME_NO_DATABASE": "true"}) as server,
    ):
        yield server


def join(crowd: Crowd, visitors) -> None:
    for visitor in visitors:
        presence = {"enabled": True, "key": f"visitor {visitor.number}"}
        visitor.send("1", "1", TOPIC, "phx_join", {"config": {"presence": presence}})
    crowd.listen_until(lambda: all(visitor.frames >= 2 for visitor in visitors), PATIENCE_S)


def keys(visitor, side: str) -> set[str]:
    """Return the keys that came or went in the diffs that a visitor was sent."""
    diffs = [payload for *_, name, payload in visitor.messages if name == "presence_diff"]
    return {key for diff in diffs for key in diff[side]}


def test_a_crowd_is_seen_by_all_and_leaves_nobody_behind(server):
    target = f"/realtime/v1/websocket?vsn=2.0.0&apikey={mint()}"
    with Crowd(server.port, target) as crowd:
        (witness,) = crowd.connect(1, witness=True)
        crowd.connect(EXTENT.crowd - 1)
        everybody = list(crowd.visitors)
        for first in range(0, EXTENT.crowd, WAVE):
            join(crowd, everybody[first : first + WAVE])
        for visitor in everybody:
            visitor.reset()

        for visitor in everybody:
            payload = {"type": "presence", "event": "track", "payload": {"since": "today"}}
            visitor.send("1", "2", TOPIC, "presence", payload)
        names = {f"visitor {visitor.number}" for visitor in everybody}
        took_s = crowd.listen_until(
            lambda: (
                keys(witness, "joins") == names
                and all(
                    visitor.received_bytes >= witness.received_bytes for visitor in everybody
                )
            ),
            PATIENCE_S,
        )
        assert took_s < EXTENT.tracked_within_s
        assert {visitor.received_bytes for visitor in everybody} == {witness.received_bytes}
        # Merged diffs: had each track been told by itself, there would be as many frames as visitors.
        assert witness.frames < EXTENT.crowd / 4

        (newcomer,) = crowd.connect(1, witness=True)
        newcomer.send("1", "1", TOPIC, "phx_join", {"config": {"presence": {"enabled": True}}})
        took_s = crowd.listen_until(lambda: newcomer.frames >= 2, PATIENCE_S)
        assert took_s < EXTENT.state_within_s
        assert newcomer.messages[1][4].keys() == names

        newcomer.reset()
        crowd.leave(everybody)
        crowd.listen_until(lambda: keys(newcomer, "leaves") == names, PATIENCE_S)
        assert "realtime_presences 0.0" in Operator(server.url).metrics()
