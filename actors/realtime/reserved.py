"""Topics that belong to this server: what it says of itself is for its operators, and nobody else can say it.

Names that begin with `_troupe:` are reserved, whatever the policies of the database grant:
the service role may listen in the private channel of such a name, and nobody may join the public one.
Nobody sends there, not even the service role, and what is stored for such a topic is not delivered;
the server's own actors give their events straight to the channel (`reporter.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from actors.realtime.ports import Grants

if TYPE_CHECKING:
    from actors.realtime.messages import ChannelKey
    from actors.realtime.ports import Policies, PolicyQuestion

PREFIX: Final = "_troupe:"
SERVICE_ROLE: Final = "service_role"
NOTHING: Final = Grants(broadcast=False, presence=False)
LISTEN: Final = Grants(broadcast=True, presence=False)


def is_reserved(sub_topic: str) -> bool:
    """Whether a topic belongs to this server."""
    return sub_topic.startswith(PREFIX)


def is_closed(key: ChannelKey) -> bool:
    """Whether nobody may join a channel: the public one of a reserved name."""
    return not key.is_private and is_reserved(key.sub_topic)


@frozen
class GuardedPolicies:
    """The policies of a tenant, which are not asked about reserved topics."""

    policies: Policies

    async def may_read(self, question: PolicyQuestion, *, presence: bool) -> Grants:
        """Return what may be received."""
        if not is_reserved(question.sub_topic):
            return await self.policies.may_read(question, presence=presence)
        await trio.lowlevel.checkpoint()
        return LISTEN if question.identity.role == SERVICE_ROLE else NOTHING

    async def may_write(self, question: PolicyQuestion) -> Grants:
        """Return what may be sent."""
        if not is_reserved(question.sub_topic):
            return await self.policies.may_write(question)
        await trio.lowlevel.checkpoint()
        return NOTHING
