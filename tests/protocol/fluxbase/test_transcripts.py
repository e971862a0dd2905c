"""The golden transcripts of Fluxbase, played against a session alone."""

from __future__ import annotations

import pytest

from protocol.fluxbase import FluxbaseDialect
from tests.support.phoenix import SessionServer
from tests.support.transcripts import load_transcripts

TRANSCRIPTS = load_transcripts("fluxbase")


def test_there_are_transcripts():
    assert {transcript.version for transcript in TRANSCRIPTS} == {"1"}


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)
@pytest.mark.capability("FB-004", "FB-008", "FB-010", "FB-014", "FB-065")
def test_a_session_keeps_to_the_transcript(transcript):
    server = SessionServer(FluxbaseDialect())
    server.begin()
    for exchange in transcript.exchanges:
        frames = [frame for data in exchange.sent for frame in server.receive(data)]

        assert len(frames) == len(exchange.expected), frames
        for pattern, frame in zip(exchange.expected, frames, strict=True):
            assert pattern.matches(frame.payload.decode()), (pattern, frame)
