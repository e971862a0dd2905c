"""From the server's stderr to lines of our log."""

from __future__ import annotations

import structlog
import trio
from trio.testing import memory_stream_one_way_pair

from actors.db.server_log import LONGEST_LINE_BYTES, ServerLog


async def follow(*chunks: bytes) -> tuple[ServerLog, list[str]]:
    """Return the log after `chunks`, and the lines it wrote, with their level."""
    sender, receiver = memory_stream_one_way_pair()
    server_log = ServerLog()
    with structlog.testing.capture_logs() as written:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server_log.follow, receiver)
            async with sender:
                for chunk in chunks:
                    await sender.send_all(chunk)
    return server_log, [f"{line['log_level']} {line['line']}" for line in written]


async def test_lines_are_put_together_from_pieces() -> None:
    _, written = await follow(b"LOG:  star", b"ting\nLOG:  rea", b"dy\n")

    assert written == ["debug LOG:  starting", "debug LOG:  ready"]


async def test_the_gravest_line_is_remembered() -> None:
    server_log, written = await follow(b"FATAL:  no room\nLOG:  database system is shut down\n")

    assert server_log.last_words == "FATAL:  no room"
    assert written[0] == "warning FATAL:  no room"


async def test_a_line_without_end_does_not_grow_for_ever() -> None:
    _, written = await follow(*[b"x" * LONGEST_LINE_BYTES] * 5)

    assert max(map(len, written)) == LONGEST_LINE_BYTES + len("debug ")


async def test_the_end_is_waited_for_but_not_for_long(autojump_clock: object) -> None:
    before = trio.current_time()

    await ServerLog().wait_ended()

    assert 0 < trio.current_time() - before < 2
