"""What one subscription may do on its topic: in a public one everything, in a private one what policies grant.

Made by `joins.py` at each join and by `credentials.py` for each new token, which settles what may be received.
What may be sent is asked about at the first broadcast or track (`publisher.py`, `tracker.py`); answers count
until the next token.

**Source**: spec 7 (what is asked when), 2.3 and 3.4 (texts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from attrs import define, field, frozen

from actors.realtime.errors import Forbidden, Refused
from actors.realtime.ports import Grants, PolicyQuestion
from actors.realtime.reserved import is_closed
from protocol.commands import Broadcast, PresenceAction, PresencePush

if TYPE_CHECKING:
    from actors.realtime.messages import ChannelKey
    from actors.realtime.ports import Identity, Policies

SERVICE_ROLE = "service_role"
EVERYTHING = Grants(broadcast=True, presence=True)


@frozen
class ServiceRoleOnly:
    """Policies for a server without a database: nobody but the service role gets into private topics."""

    async def may_read(self, question: PolicyQuestion, *, presence: bool) -> Grants:
        """Let the service role receive everything."""
        may = question.identity.role == SERVICE_ROLE
        return Grants(broadcast=may, presence=may and presence)

    async def may_write(self, question: PolicyQuestion) -> Grants:
        """Let the service role send everything."""
        return await self.may_read(question, presence=True)


@define(eq=False)
class Permissions:
    """Those of one subscription and token; `read` is what may be received.

    `wants_presence` says that the client wants to know who is present, so policies are asked about that as well.
    """

    key: ChannelKey
    question: PolicyQuestion
    policies: Policies
    wants_presence: bool
    read: Grants
    _write: Grants | None = field(default=None, init=False)

    async def for_identity(self, identity: Identity) -> Permissions:
        """Return what holds for another token of the same client.

        Raises:
            Forbidden: nothing may be received any more, or less than before.
            Refused: that could not be found out.
        """
        headers = self.question.headers
        renewed = await permissions_of(
            self.key, identity, headers, self.policies, wants_presence=self.wants_presence
        )
        before, now = self.read, renewed.read
        if (before.broadcast and not now.broadcast) or (before.presence and not now.presence):
            raise Forbidden(
                "Unauthorized",
                f"You no longer have permission to read from this Channel topic: {self.key.sub_topic}",
            )
        return renewed

    @property
    def known_broadcast(self) -> bool | None:
        """Whether a broadcast may be carried out, None if that has to be asked first."""
        if not self.key.is_private:
            return True
        return None if self._write is None else self._write.broadcast

    async def allow(self, command: Broadcast | PresencePush) -> bool:
        """Whether a command may be carried out; to be absent needs no permission."""
        if isinstance(command, Broadcast):
            return await self.may_broadcast()
        return command.action is not PresenceAction.TRACK or await self.may_track()

    async def may_broadcast(self) -> bool:
        """Whether a broadcast is delivered; fails closed."""
        write = await self._ask_write()
        return write is not None and write.broadcast

    async def may_track(self) -> bool:
        """Whether the client may be present; if so it wants to know who else is. Fails closed."""
        write = await self._ask_write()
        if write is None or not write.presence:
            return False
        if not self.wants_presence:
            await self._want_presence()
        return True

    async def _want_presence(self) -> None:
        """Find out whether presence may be read; if that cannot be done, the next track tries again."""
        try:
            grants = await self.policies.may_read(self.question, presence=True)
        except Refused as undecided:
            self._log(undecided)
        else:
            self.wants_presence = True
            # What was granted to this token stays: changed policies count from the next one on.
            self.read = Grants(self.read.broadcast, grants.presence)

    async def _ask_write(self) -> Grants | None:
        """Return what may be sent, None if that could not be found out and is to be asked again next time."""
        if not self.key.is_private:
            return EVERYTHING
        if self._write is None:
            try:
                self._write = await self.policies.may_write(self.question)
            except Refused as undecided:
                self._log(undecided)
        return self._write

    def _log(self, undecided: Refused) -> None:
        structlog.get_logger().warning(
            "policy.undecided", topic=self.key.sub_topic, code=undecided.code
        )


async def permissions_of(
    key: ChannelKey,
    identity: Identity,
    headers: bytes,
    policies: Policies,
    *,
    wants_presence: bool,
) -> Permissions:
    """Return what an identity may do on a topic.

    Raises:
        Forbidden: it may receive nothing.
        Refused: that could not be found out.
    """
    question = PolicyQuestion(key.sub_topic, identity, headers)
    read = await _read(key, question, policies, wants_presence=wants_presence)
    return Permissions(key, question, policies, wants_presence, read)


async def _read(
    key: ChannelKey, question: PolicyQuestion, policies: Policies, *, wants_presence: bool
) -> Grants:
    if is_closed(key):
        raise Forbidden("Unauthorized", f"This topic is reserved: {key.sub_topic}")
    if not key.is_private:
        return EVERYTHING
    grants = await policies.may_read(question, presence=wants_presence)
    if not (grants.broadcast or grants.presence):
        raise Forbidden(
            "Unauthorized",
            f"You do not have permissions to read from this Channel topic: {key.sub_topic}",
        )
    return grants
