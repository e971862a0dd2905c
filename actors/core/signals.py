"""Signals: what supervision tells an actor, on a lane that a full mailbox cannot block."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from actors.core.ref import Ref


class Reason(Enum):
    """Why an actor is gone for good."""

    RETURNED = "returned"
    STOPPED = "stopped"
    GAVE_UP = "gave up"


@frozen
class Restarted:
    """A watched actor crashed and lives again; lies here before it takes its next message."""

    ref: Ref[Any]
    incarnation: int


@frozen
class Terminated:
    """A watched actor is gone for good."""

    ref: Ref[Any]
    reason: Reason


@frozen
class Stopping:
    """You are being stopped: finish and return; what still runs at `deadline` (trio clock) is cancelled."""

    deadline: float


Signal = Restarted | Terminated | Stopping
