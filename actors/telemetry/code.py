"""What a row of the table of codes says; the rows are in `codes.py`."""

from __future__ import annotations

from enum import Enum

from attrs import frozen


class Fault(Enum):
    """Who can put it right."""

    CLIENT = "client"
    OPERATOR = "operator"
    SERVER = "server"


class Place(Enum):
    """Where it is seen."""

    CONNECT = "refused connection (HTTP)"
    JOIN = "reason of a refused join"
    SYSTEM = "`system` message"
    REPLY = "reply to a broadcast with `ack`"
    REST = "answer over HTTP"
    LOG = "log"
    METRIC = "metric"


@frozen
class Code:
    """One row: the code, what it means, who can put it right, and where it is seen."""

    name: str
    meaning: str
    fault: Fault
    places: tuple[Place, ...]
