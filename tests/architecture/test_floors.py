"""Who may import whom."""

from __future__ import annotations

import sys

import pytest

from tests.architecture.rules import (
    DIALECTS,
    FLOOR_0_FORBIDDEN,
    FLOOR_0_LIBRARIES,
    FLOORS,
    FLOORS_WITH_NEIGHBOURS,
    HEAVY_NEIGHBOURS,
    SELF_CONTAINED,
)
from tests.architecture.source import PACKAGES, Module, example, imports, modules


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(name: str) -> str | None:
    return next((room for room in FLOORS if is_within(name, room)), None)


def floor_findings(module: Module) -> list[str]:
    own = room_of(module.name)
    if own is None:
        return (
            []
            if module.name == "actors"
            else [f"{module.path}: give this room a floor in rules.py."]
        )
    findings = []
    for name, line in imports(module):
        if name.split(".")[0] not in PACKAGES:
            continue
        other = room_of(name)
        if other is None or not may_import(own, other):
            findings.append(
                f"{module.path}:{line}: {own} (floor {FLOORS[own]}) may not import {name}; "
                "state what is needed as a Protocol on the lower floor and join the two in actors/node.py."
            )
    return findings


def may_import(own: str, other: str) -> bool:
    if own == other:
        return True
    if own in SELF_CONTAINED:
        return False
    if FLOORS[own] == FLOORS[other]:
        return FLOORS[own] in FLOORS_WITH_NEIGHBOURS
    return FLOORS[other] < FLOORS[own]


def dialect_findings(module: Module) -> list[str]:
    own = next((dialect for dialect in DIALECTS if is_within(module.name, dialect)), None)
    inside_protocol = is_within(module.name, "protocol")
    return [
        f"{module.path}:{line}: a dialect is imported by nobody else in protocol; "
        "move what both need into a neutral file of protocol/."
        for name, line in imports(module)
        for dialect in DIALECTS
        if inside_protocol and is_within(name, dialect) and dialect != own
    ]


def floor_0_findings(module: Module) -> list[str]:
    if not is_within(module.name, "protocol"):
        return []
    allowed = sys.stdlib_module_names - FLOOR_0_FORBIDDEN | FLOOR_0_LIBRARIES | set(PACKAGES)
    return [
        f"{module.path}:{line}: floor 0 may not import {name}; take its value as an argument instead."
        for name, line in imports(module)
        if name.split(".")[0] not in allowed
    ]


def heavy_findings(module: Module) -> list[str]:
    return [
        f"{module.path}:{line}: only {', '.join(HEAVY_NEIGHBOURS[library])} may import {library}; "
        "call what that file offers, or extend it."
        for name, line in imports(module)
        for library in [name.split(".")[0]]
        if library in HEAVY_NEIGHBOURS and not is_listed(module.path, HEAVY_NEIGHBOURS[library])
    ]


def is_listed(path: str, places: tuple[str, ...]) -> bool:
    return any(
        path == place or (place.endswith("/") and path.startswith(place)) for place in places
    )


CHECKS = (floor_findings, dialect_findings, floor_0_findings, heavy_findings)


@pytest.mark.parametrize("check", CHECKS)
def test_every_module_keeps_to_its_floor(check):
    assert [finding for module in modules() for finding in check(module)] == []


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (floor_findings, "actors/realtime/a.py", "from actors.web import server"),
        (floor_findings, "actors/realtime/a.py", "from actors import web"),
        (floor_findings, "actors/auth/a.py", "import actors.db.pool"),
        (floor_findings, "actors/core/a.py", "from protocol.frames import Frame"),
        (
            floor_findings,
            "actors/core/a.py",
            "if TYPE_CHECKING:\n    from actors.node import Node",
        ),
        (floor_findings, "actors/core/a.py", "from ..telemetry import log"),
        (floor_findings, "actors/attic/a.py", ""),
        (dialect_findings, "protocol/goforward/a.py", "from protocol.phoenix import v1"),
        (dialect_findings, "protocol/events.py", "from protocol.phoenix.v1 import decode"),
        (floor_0_findings, "protocol/a.py", "import time"),
        (floor_0_findings, "protocol/a.py", "from os import environ"),
        (floor_0_findings, "protocol/a.py", "import trio"),
        (heavy_findings, "actors/web/app.py", "import h11"),
        (heavy_findings, "actors/realtime/a.py", "from starlette.routing import Route"),
        (heavy_findings, "actors/db/pool.py", "import asyncio"),
    ],
)
def test_a_forbidden_import_is_found(check, path, text):
    assert len(check(example(path, text))) == 1


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "actors/web/app.py",
            "from starlette.routing import Route\nfrom actors.realtime import ports",
        ),
        ("actors/node.py", "from actors.settings import Settings"),
        ("actors/db/driver.py", "import asyncio, psycopg"),
        ("actors/core/ref.py", "from . import cell\nfrom .errors import ActorError"),
        ("protocol/phoenix/v1.py", "import msgspec\nfrom protocol.events import Event"),
    ],
)
def test_a_permitted_import_is_not_found(check, path, text):
    assert check(example(path, text)) == []
