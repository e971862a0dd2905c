"""What the embedded Postgres says on its stderr, turned into lines of our log.

Called by `embedded`; the server is told to keep statements and row values to itself.
"""

from __future__ import annotations

import structlog
import trio
from attrs import define, field

log = structlog.get_logger()

# What is longer arrives in pieces.
LONGEST_LINE_BYTES = 8192
# The processes of a killed server hold its stderr open until they notice.
END_WITHIN_S = 0.5
GRAVE = ("FATAL:", "PANIC:")


@define
class ServerLog:
    """One server's words; `last_words` is the gravest line so far, empty if there was none."""

    last_words: str = ""
    _ended: trio.Event = field(factory=trio.Event)

    async def follow(self, stream: trio.abc.ReceiveStream) -> None:
        """Log all that comes, until the stream ends."""
        rest = b""
        async with stream:
            async for chunk in stream:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(line)
                while len(rest) > LONGEST_LINE_BYTES:
                    self._take(rest[:LONGEST_LINE_BYTES])
                    rest = rest[LONGEST_LINE_BYTES:]
        self._ended.set()

    async def wait_ended(self) -> None:
        """Wait until all is said, but not for long."""
        with trio.move_on_after(END_WITHIN_S):
            await self._ended.wait()

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()
        if text.startswith(GRAVE):
            self.last_words = text
            log.warning("postgres.complained", line=text)
        elif text:
            log.debug("postgres.said", line=text)
