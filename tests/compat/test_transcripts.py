"""The golden transcripts of the dialects, played against the running server over a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import trio

from tests.support.goforward import path_of, user_token
from tests.support.tokens import mint
from tests.support.transcripts import Transcript, load_transcripts
from tests.support.websocket import open_websocket

if TYPE_CHECKING:
    from tests.support.server import Server
    from tests.support.websocket import WebSocketClient

ANSWERED_WITHIN_S = 10


@pytest.mark.parametrize("transcript", load_transcripts("phoenix"), ids=lambda t: t.name)
async def test_the_server_plays_the_transcript(server: Server, transcript: Transcript):
    query = urlencode({"vsn": transcript.version, "apikey": mint()})
    with trio.fail_after(ANSWERED_WITHIN_S):
        async with open_websocket(server.port, f"/realtime/v1/websocket?{query}") as client:
            await play(transcript, client)


@pytest.mark.parametrize(
    "transcript", load_transcripts("goforward"), ids=lambda transcript: transcript.name
)
async def test_the_server_plays_the_transcript_of_goforward(
    server: Server, transcript: Transcript
):
    # Nobody else is in a channel of that name.
    target = path_of(transcript.name, token=user_token("me"))
    with trio.fail_after(ANSWERED_WITHIN_S):
        async with open_websocket(server.port, target) as client:
            await play(transcript, client)


@pytest.mark.parametrize(
    "transcript", load_transcripts("fluxbase"), ids=lambda transcript: transcript.name
)
@pytest.mark.capability("FB-001", "FB-002", "FB-013")
async def test_the_server_plays_the_transcript_of_fluxbase(
    server: Server, transcript: Transcript
):
    with trio.fail_after(ANSWERED_WITHIN_S):
        async with open_websocket(server.port, "/realtime") as client:
            await play(transcript, client)


async def play(transcript: Transcript, client: WebSocketClient) -> None:
    """Say what the client says in it, and hold what the server says against it."""
    for exchange in transcript.exchanges:
        for frame in exchange.sent:
            await client.send(frame)
        for pattern in exchange.expected:
            received = await client.receive()
            assert pattern.matches(received), f"{received!r} is not {pattern}"
