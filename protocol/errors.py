"""The errors of floor 0: the peer said something that the protocol does not allow.

One class per reaction, not per cause.
Raised by the decoders and the dialect sessions, caught at the session boundary in `actors.realtime.connection`.
"""

from __future__ import annotations

from typing import ClassVar


class ProtocolError(Exception):
    """The peer's fault; `code` is stable and may be logged, `reason` never repeats what was sent."""

    code: ClassVar[str] = "ProtocolError"
    #: True when the connection cannot go on (close code 1008); else the frame is dropped and it lives on.
    ends_connection: ClassVar[bool] = False

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MalformedFrame(ProtocolError):
    """The frame does not have the shape of the dialect: it is dropped without an answer."""

    code = "MalformedWebSocketMessage"


class UnknownFrame(ProtocolError):
    """The frame is well-formed but of no known kind: it is dropped without an answer."""

    code = "UnknownErrorOnWebSocketMessage"


class TooMuchPending(ProtocolError):
    """The peer sent more for a topic whose join is not answered yet than is kept for it."""

    code = "TooMuchPending"
    ends_connection = True


class MalformedChange(ProtocolError):
    """The replication stream does not follow the pgoutput format."""

    code = "MalformedChange"


class InvalidFilter(ProtocolError):
    """The text of a filter follows no grammar; `reason` is for the client and shows what could not be read."""

    code = "InvalidFilter"


class ConditionError(ProtocolError):
    """The text of a condition is none, or asks for what none may; `reason` is a sentence for the client."""

    code = "InvalidCondition"

    @classmethod
    def at(cls, place: int, what: str) -> ConditionError:
        """Return the error at a character of the condition, counted from 0."""
        return cls(f"Character {place + 1} of the condition: {what}.")
