"""Policies in memory: what they grant is said by the test, and what they were asked is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from actors.realtime.permissions import EVERYTHING
from actors.realtime.ports import Grants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.realtime.errors import Refused
    from actors.realtime.ports import PolicyQuestion

NOTHING = Grants(broadcast=False, presence=False)
BROADCAST = Grants(broadcast=True, presence=False)
PRESENCE = Grants(broadcast=False, presence=True)


@define
class FakePolicies:
    """Implements `ports.Policies`; what is granted is looked up by the topic, `None` is for all others.

    Writing is asked for `write_s` seconds.
    """

    read: Mapping[str | None, Grants] = field(factory=dict)
    write: Mapping[str | None, Grants] = field(factory=dict)
    read_fault: Refused | None = None
    write_fault: Refused | None = None
    write_s: float = 0.0
    asked_to_read: list[tuple[str, str, bool]] = field(factory=list)
    asked_to_write: list[tuple[str, str]] = field(factory=list)
    headers: list[bytes] = field(factory=list)

    async def may_read(self, question: PolicyQuestion, *, presence: bool) -> Grants:
        role = question.identity.role
        self.asked_to_read.append((role, question.sub_topic, presence))
        self.headers.append(question.headers)
        if self.read_fault is not None:
            raise self.read_fault
        found = _find(self.read, question)
        return Grants(found.broadcast, found.presence and presence)

    async def may_write(self, question: PolicyQuestion) -> Grants:
        self.asked_to_write.append((question.identity.role, question.sub_topic))
        self.headers.append(question.headers)
        await trio.sleep(self.write_s)
        if self.write_fault is not None:
            raise self.write_fault
        return _find(self.write, question)


def _find(grants: Mapping[str | None, Grants], question: PolicyQuestion) -> Grants:
    return grants.get(question.sub_topic, grants.get(None, EVERYTHING))
