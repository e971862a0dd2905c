"""The frames in the reference page are those that the server reads and writes."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.goforward import dialect
from tests.support.phoenix import SessionServer
from tests.support.transcripts import parse_transcript

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "goforward.md"
BLOCK = re.compile(r"^```goforward\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_server_plays_every_block_of_the_page_one_after_the_other():
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    server = SessionServer(dialect("room"), "me")
    first, *others = parse_transcript("page", "\n".join(blocks)).exchanges
    sent = server.begin()
    assert all(p.matches(f.payload.decode()) for p, f in zip(first.expected, sent, strict=True))
    assert len(blocks) >= 5
    for exchange in others:
        frames = [frame for data in exchange.sent for frame in server.receive(data)]
        for pattern, frame in zip(exchange.expected, frames, strict=True):
            assert pattern.matches(frame.payload.decode()), (pattern, frame)
