"""Golden transcripts: a dialogue of one client with the server as plain text.

    version 2.0.0

    # A comment, or an empty line.
    C: ["1","1","realtime:room","phx_join",{}]
    S: ["1","1","realtime:room","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]
    C: binary 03 01 01 0c 02 00 01 '15realtime:roommv' '{"x":1}'
    S: binary 04 0c 02 00 01 'realtime:roommv' '{"x":1}'

The head says which `vsn` is dialled.
`C:` is a frame of the client, `S:` one of the server, in the order in which they are sent.
Text of the server is compared as JSON; the string `…` stands for any value.
Bytes are hexadecimal pairs and ASCII in single quotes; `…` at the end stands for any rest.

A player goes through `exchanges`: it sends what an exchange sends, receives as many frames as it expects,
and holds each against its pattern with `matches`. A frame too many shows up in the next exchange,
so a transcript ends with a heartbeat and its reply.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).parent.parent / "transcripts"
ANY = "…"

_BYTES_TOKEN = re.compile(r"'([^']*)'|([0-9a-f]{2})|(…)$|\s+")


@frozen
class TextPattern:
    """A text frame of the server, as a JSON value in which `…` stands for any value."""

    value: Any

    def matches(self, received: str | bytes) -> bool:
        return isinstance(received, str) and _matches(self.value, json.loads(received))


@frozen
class BytesPattern:
    """A binary frame of the server; `is_head` if any rest may follow."""

    data: bytes
    is_head: bool

    def matches(self, received: str | bytes) -> bool:
        if not isinstance(received, bytes):
            return False
        return received.startswith(self.data) if self.is_head else received == self.data


@frozen
class Exchange:
    """What the client sends and what the server then sends because of it."""

    sent: Sequence[str | bytes]
    expected: Sequence[TextPattern | BytesPattern]


@frozen
class Transcript:
    """One file."""

    name: str
    version: str
    exchanges: Sequence[Exchange]


def load_transcripts(dialect: str) -> list[Transcript]:
    """Return every transcript of the dialect's folder, by name."""
    paths = sorted((FOLDER / dialect).glob("*.txt"))
    return [parse_transcript(path.stem, path.read_text(encoding="utf-8")) for path in paths]


def parse_transcript(name: str, text: str) -> Transcript:
    """Return the dialogue that `text` describes; raises ValueError with the line that is wrong."""
    version = ""
    exchanges: list[tuple[list[str | bytes], list[TextPattern | BytesPattern]]] = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        match word:
            case "C:":
                if not exchanges or exchanges[-1][1]:
                    exchanges.append(([], []))
                exchanges[-1][0].append(client_frame(rest))
            case "S:":
                if not exchanges:
                    # What is sent to who connected.
                    exchanges.append(([], []))
                exchanges[-1][1].append(read_pattern(rest))
            case "version":
                version = rest
            case "":
                continue
            case _ if not word.startswith("#"):
                raise ValueError(f"{name}: neither C: nor S: nor a comment: {line}")
    return Transcript(name, version, [Exchange(*e) for e in exchanges])


def client_frame(text: str) -> str | bytes:
    """Return the frame behind a `C:`."""
    if not text.startswith("binary "):
        return text
    data, is_head = parse_bytes(text.removeprefix("binary "))
    if is_head:
        raise ValueError(f"a client's frame has no open end: {text}")
    return data


def read_pattern(text: str) -> TextPattern | BytesPattern:
    """Return what a frame must be that the text behind an `S:` describes."""
    if text.startswith("binary "):
        return BytesPattern(*parse_bytes(text.removeprefix("binary ")))
    return TextPattern(json.loads(text))


def parse_bytes(text: str) -> tuple[bytes, bool]:
    """Return the bytes that `text` describes, and whether any rest may follow."""
    parts, at = [], 0
    while at < len(text):
        token = _BYTES_TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"neither hexadecimal nor quoted: {text[at:]}")
        at = token.end()
        quoted, pair, _ = token.groups()
        parts.append(bytes.fromhex(pair) if pair else (quoted or "").encode("ascii"))
    return b"".join(parts), text.endswith(ANY)


def _matches(pattern: Any, value: Any) -> bool:
    if pattern == ANY:
        return True
    if isinstance(pattern, dict) and isinstance(value, dict):
        return pattern.keys() == value.keys() and all(
            _matches(pattern[key], value[key]) for key in pattern
        )
    if isinstance(pattern, list) and isinstance(value, list):
        return len(pattern) == len(value) and all(map(_matches, pattern, value))
    return type(pattern) is type(value) and pattern == value
