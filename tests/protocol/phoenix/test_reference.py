"""The wire reference shows frames as they are: a client's are read, and a server's written, by the dialect itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from attrs import frozen
from msgspec import Raw

from protocol.events import (
    Closed,
    Failed,
    PresenceDiff,
    PresenceState,
    Reply,
    RowChange,
    System,
    TextBroadcast,
)
from protocol.frames import Opcode
from protocol.phoenix import negotiate, v1, v2
from protocol.phoenix.binary import decode_server_frame
from protocol.phoenix.envelope import Envelope
from tests.architecture.source import modules
from tests.support.transcripts import parse_bytes

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "phoenix.md"
BLOCK = re.compile(r"^```wire (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@frozen
class Example:
    """One line of a block: who says what in which version."""

    version: str
    speaker: str
    text: str

    @property
    def frame(self) -> str | bytes:
        if not self.text.startswith("binary "):
            return self.text
        data, is_head = parse_bytes(self.text.removeprefix("binary "))
        assert not is_head
        return data


def examples(page: str) -> list[Example]:
    return [
        Example(version, speaker, text)
        for version, block in BLOCK.findall(page)
        for speaker, text in (line.split(": ", 1) for line in block.splitlines())
    ]


EXAMPLES = examples(PAGE.read_text("utf-8"))


def said_by(speaker: str) -> list[Example]:
    return [example for example in EXAMPLES if example.speaker == speaker]


def server_envelope(version: str, text: str) -> Envelope:
    """Return what a client reads from a text frame; a 1.0.0 one must have the four keys."""
    value = json.loads(text)
    if version == "1.0.0":
        assert value.keys() == {"ref", "topic", "event", "payload"}
        value = [None, value["ref"], value["topic"], value["event"], value["payload"]]
    join_ref, ref, topic, event, payload = value
    return Envelope(join_ref, ref, topic, event, Raw(json.dumps(payload).encode()))


def event_of(message: Envelope) -> object:
    """Return the event that a message must have been made from, by its name alone."""
    payload = json.loads(bytes(message.payload))
    match message.event:
        case "phx_reply":
            response = json.dumps(payload["response"]).encode()
            return Reply(message.ref, message.join_ref, payload["status"] == "ok", response)
        case "phx_close":
            return Closed(message.join_ref)
        case "phx_error":
            return Failed(message.join_ref)
        case "broadcast":
            return TextBroadcast(bytes(message.payload))
        case "postgres_changes":
            return RowChange(tuple(payload["ids"]), json.dumps(payload["data"]).encode())
        case "presence_state":
            return PresenceState(message.join_ref, bytes(message.payload))
        case "presence_diff":
            joins, leaves = (json.dumps(payload[side]).encode() for side in ("joins", "leaves"))
            return PresenceDiff(joins, leaves)
        case "system":
            channel = payload.get("channel")
            status = payload["status"] == "ok"
            return System(
                message.join_ref, payload["extension"], status, payload["message"], channel
            )
        case other:
            raise AssertionError(f"no event is called {other}")


def test_the_page_has_examples_of_both_versions_and_sides():
    assert {(example.version, example.speaker) for example in EXAMPLES} == {
        (version, speaker) for version in ("1.0.0", "2.0.0") for speaker in "CS"
    }


@pytest.mark.parametrize("example", said_by("C"), ids=lambda example: example.text[:60])
def test_a_frame_of_a_client_is_read_without_complaint(example):
    decode = v1.decode if example.version == "1.0.0" else v2.decode

    assert decode(example.frame).event


@pytest.mark.parametrize("example", said_by("S"), ids=lambda example: example.text[:60])
@pytest.mark.capability("SB-172", "SB-178")
def test_a_frame_of_the_server_is_what_the_dialect_writes(example):
    dialect = negotiate(example.version)
    if isinstance(example.frame, bytes):
        read = decode_server_frame(example.frame)
        written = dialect.frame(read.message, read.topic)
        assert (written.opcode, written.payload) == (Opcode.BINARY, example.frame)
        return

    message = server_envelope(example.version, example.text)
    written = dialect.frame(event_of(message), message.topic)

    assert written.opcode is Opcode.TEXT
    assert json.loads(written.payload) == json.loads(example.text)


def test_an_example_with_a_wrong_ref_is_found():
    (example,) = examples('```wire 2.0.0\nS: ["1","2","realtime:a","phx_close",{}]\n```\n')
    message = server_envelope(example.version, example.text)

    written = negotiate("2.0.0").frame(event_of(message), message.topic)

    assert json.loads(written.payload) != json.loads(example.text)


def test_every_code_of_a_refused_join_is_one_that_the_server_gives():
    section = PAGE.read_text("utf-8").partition("### A refused join")[2].partition("###")[0]
    codes = set(re.findall(r"`([A-Z]\w+): ", section))
    source = "".join(module.text for module in modules())

    assert len(codes) > 10
    assert [code for code in codes if f'"{code}"' not in source] == []
