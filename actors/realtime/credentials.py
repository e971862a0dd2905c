"""The tokens of one connection's subscriptions: exchanged by their client, and verified again while they are used.

Called by the connection: for the command `AccessToken`, and in a task of its own when the memberships' alarm rings.
A token that is no good any more ends the subscriptions that speak with it, never the socket.
It is a refusal: the client is told why and that its subscription is closed, and does not come back by itself.

**Invariants**
- A token is good when it is accepted, and verified again within `Limits.verify_again_s`, at the latest when it expires.
- What became of a token that was overtaken by another one, or by the end of the join, has no effect.

**Source**: spec 3.3 and 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from actors.realtime.errors import Refused
from actors.realtime.join import is_opaque, refresh
from actors.realtime.managed_joins import end_if_unwelcome, refuse_if_unreadable
from protocol.events import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.realtime.membership import Membership
    from actors.realtime.memberships import Memberships
    from actors.realtime.ports import Identity
    from actors.realtime.seat import Seat
    from protocol.commands import AccessToken

#: Tokens of one connection that are verified again at a time; each may wait for a key to be fetched.
AT_A_TIME = 8


#: The code of a token that is refused without one.
UNACCEPTABLE: Final = "InvalidJWTToken"


class Credentials:
    """See the module's text."""

    __slots__ = ("_exchanging", "_memberships", "_places", "_seat", "_tenant", "_verifier")

    def __init__(self, seat: Seat, memberships: Memberships) -> None:
        self._seat = seat
        self._tenant = seat.tenant
        self._verifier = seat.verifier
        self._memberships = memberships
        #: Made when tokens are verified again.
        self._places: trio.CapacityLimiter | None = None
        #: Topics whose token is being exchanged: what becomes of the old one does not matter any more.
        self._exchanging: dict[str, None] = {}

    async def refresh(self, command: AccessToken) -> None:
        """Let a subscription speak with another token from now on, or end it if that is no good.

        Answers only who asked for that, and only if it is good.
        """
        await self._exchange(command)
        current = self._memberships.find(command.topic, command.number)
        if command.ref is not None and current is not None:
            self._seat.push(Reply(command.ref, None, ok=True), command.topic)

    async def _exchange(self, command: AccessToken) -> None:
        membership = self._memberships.find(command.topic, command.number)
        token = command.token
        if membership is None or token is None:
            return
        if is_opaque(token) or token == membership.identity.token:
            return
        self._exchanging[command.topic] = None
        try:
            identity = await self._verifier.verify(token)
            _, is_private, sub_topic = membership.channel_key
            if not is_private:
                is_managed = membership.subscription.is_managed
                refuse_if_unreadable(sub_topic, identity, self._tenant, is_managed=is_managed)
            permissions = await membership.permissions.for_identity(identity)
            renewed = membership.speaking_with(permissions)
            await refresh(membership.channel, renewed.subscription, self._tenant)
        except Refused as refused:
            await self._end(command.topic, membership, refused)
        else:
            if self._is_current(command.topic, membership):
                self._memberships.renew(renewed)
                await end_if_unwelcome(renewed, self._tenant)
        finally:
            self._exchanging.pop(command.topic, None)

    async def verify_again(self) -> None:
        """Verify the tokens that are in use, and set the alarm for the next time."""
        # Most clients use one token for all their topics, which is then verified once.
        speakers: dict[str, list[tuple[str, Membership]]] = {}
        for topic, membership in self._memberships.by_topic.items():
            speakers.setdefault(membership.identity.token, []).append((topic, membership))
        async with trio.open_nursery() as nursery:
            for memberships in speakers.values():
                nursery.start_soon(self._verify_again, memberships, nursery)

    async def _verify_again(
        self, speakers: Sequence[tuple[str, Membership]], nursery: trio.Nursery
    ) -> None:
        """Verify the token of these memberships; the end of one may wait for its channel, and delays no other."""
        identity = speakers[0][1].identity
        refusal = await self._refusal(identity)
        for topic, membership in speakers:
            if topic in self._exchanging:
                continue
            if refusal is not None:
                nursery.start_soon(self._end, topic, membership, refusal)
            elif self._is_current(topic, membership):
                self._memberships.set_alarm(identity)

    async def _refusal(self, identity: Identity) -> Refused | None:
        places = self._places = self._places or trio.CapacityLimiter(AT_A_TIME)
        async with places:
            try:
                await self._verifier.verify(identity.token)
            except Refused as refused:
                return refused
        return None

    async def _end(self, topic: str, membership: Membership, refused: Refused) -> None:
        if self._is_current(topic, membership):
            code = refused.code or UNACCEPTABLE
            await self._memberships.expel(membership, refused.notice, code)

    def _is_current(self, topic: str, membership: Membership) -> bool:
        return self._memberships.by_topic.get(topic) is membership
