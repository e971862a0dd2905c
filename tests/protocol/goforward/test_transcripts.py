"""The golden transcripts of GoForward, played against a session alone."""

from __future__ import annotations

import pytest

from tests.support.goforward import dialect
from tests.support.phoenix import SessionServer
from tests.support.transcripts import load_transcripts

TRANSCRIPTS = load_transcripts("goforward")


def test_there_are_transcripts():
    assert {transcript.version for transcript in TRANSCRIPTS} == {"1"}


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)
@pytest.mark.capability("GF-023", "GF-024", "GF-026", "GF-027", "GF-031", "GF-034")
def test_a_session_keeps_to_the_transcript(transcript):
    server = SessionServer(dialect(transcript.name), "me")
    for number, exchange in enumerate(transcript.exchanges):
        frames = [] if number else server.begin()
        frames += [frame for data in exchange.sent for frame in server.receive(data)]

        assert len(frames) == len(exchange.expected), frames
        for pattern, frame in zip(exchange.expected, frames, strict=True):
            assert pattern.matches(frame.payload.decode()), (pattern, frame)
