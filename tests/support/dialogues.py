"""Golden dialogues: transcripts whose point is when something is said, to whom, or under which limit.

    version 2.0.0
    set max_channels_per_client 1
    set is_private_only true

    C: ["1","1","realtime:a","phx_join",{"config":{}}]
    S: ["1","1","realtime:a","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]
    wait 5
    C2: …
    S2: close 1001

`C:` and `S:` are as in `transcripts.py`; `C2:` and `S2:` are a second client, which speaks the same version.
`wait` lets seconds of the virtual clock go by. `S: close` is a CLOSE frame with that code.
`set` names a field of the tenant's quotas, limits or status; before the first frame it is how the tenant begins,
later it is how the operator changes it. `token` is the role of the clients.
With `database memory` there is a database, without it there is none.

Wherever the clients wait or speak, nothing may have come that is not in the dialogue.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import trio.testing
from attrs import evolve, fields_dict, frozen

from actors.realtime.quota import QuotaLimits
from actors.realtime.tenant import Limits, TenantStatus
from tests.support.memory_tenant import open_stage
from tests.support.source import MemorySource
from tests.support.transcripts import client_frame, read_pattern

if TYPE_CHECKING:
    from tests.support.memory_tenant import Client, Stage

FOLDER = Path(__file__).parent.parent / "transcripts" / "dialogues"


@frozen
class Dialogue:
    """One file: its name and its lines, without comments."""

    name: str
    lines: tuple[tuple[str, str], ...]


def load_dialogues() -> list[Dialogue]:
    """Return every dialogue, by name."""
    return [
        parse_dialogue(path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.txt"))
    ]


def parse_dialogue(name: str, text: str) -> Dialogue:
    """Return the dialogue that `text` describes."""
    lines = (line.strip() for line in text.splitlines())
    kept = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return Dialogue(name, tuple((word, rest) for word, _, rest in kept))


async def play(dialogue: Dialogue) -> None:
    """Play a dialogue on a stage of its own; the clock must be virtual."""
    async with _stage(dialogue) as stage:
        clients: dict[str, Client] = {}
        head = {word: rest for word, rest in dialogue.lines if word in ("version", "token")}
        for word, rest in _body(dialogue):
            number = word[1:-1]
            if word[0] in "CS" and number not in clients:
                clients[number] = stage.connect(head["version"], head.get("token", "anon"))
            await trio.testing.wait_all_tasks_blocked()
            if word.startswith("S"):
                _hear(clients[number], rest)
                continue
            _hear_nothing(clients)
            match word:
                case "wait":
                    await trio.sleep(float(rest))
                case "set":
                    _set(stage, rest)
                case _:
                    clients[number].send_raw(client_frame(rest))
        await trio.testing.wait_all_tasks_blocked()
        _hear_nothing(clients)


def _hear(client: Client, expected: str) -> None:
    outbox = client.socket.outbox
    if expected.startswith("close"):
        assert not outbox.messages
        assert f"close {outbox.close_code}" == expected
        return
    assert outbox.messages, f"nothing came, but should: {expected}"
    message = outbox.messages.popleft()
    assert read_pattern(expected).matches(message), f"{message!r} is not {expected}"


def _hear_nothing(clients: dict[str, Client]) -> None:
    for client in clients.values():
        messages = client.socket.outbox.messages
        assert not messages, f"not in the dialogue: {messages[0]!r}"


@asynccontextmanager
async def _stage(dialogue: Dialogue):
    head = dialogue.lines[: _head_size(dialogue)]
    initial = dict(_value(rest) for word, rest in head if word == "set")
    limits = Limits(**_only(Limits, initial))
    quota = QuotaLimits(**_only(QuotaLimits, initial))
    source = MemorySource() if ("database", "memory") in head else None
    async with open_stage(limits=limits, quota=quota, source=source) as stage:
        for name, value in _only(TenantStatus, initial).items():
            setattr(stage.tenant.status, name, value)
        yield stage


def _head_size(dialogue: Dialogue) -> int:
    words = [word for word, _ in dialogue.lines]
    return words.index("C:")


def _body(dialogue: Dialogue):
    return dialogue.lines[_head_size(dialogue) :]


def _set(stage: Stage, text: str) -> None:
    change = dict([_value(text)])
    if quota := _only(QuotaLimits, change):
        stage.tenant.quota.change(evolve(stage.tenant.quota.limits, **quota))
    for name, value in _only(TenantStatus, change).items():
        setattr(stage.tenant.status, name, value)


def _value(text: str) -> tuple[str, Any]:
    name, _, value = text.partition(" ")
    known = [name in fields_dict(kind) for kind in (Limits, QuotaLimits, TenantStatus)]
    assert any(known), f"nothing is called {name}"
    return name, json.loads(value)


def _only(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in fields_dict(kind)}
