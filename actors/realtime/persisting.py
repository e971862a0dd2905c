"""Broadcasts to be stored: written to the database instead of being handed to their channel.

Called by `publisher.py` for connections and by `posting.py` for HTTP.
Who is subscribed hears of it by the relay (`relay.py`), once and with its row's id, and who joins may have it replayed.

**Source**: clients.md 4 and 6 (`persist`); what is answered is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from attrs import define, field

from actors.realtime.errors import Forbidden, NotPersisted
from actors.realtime.reserved import is_reserved
from actors.realtime.stored_ports import Storage

if TYPE_CHECKING:
    from actors.realtime.messages import JoinKey
    from actors.realtime.ports import PolicyQuestion
    from actors.realtime.tenant import Tenant
    from protocol.commands import Persist
    from protocol.events import UserBroadcast

CODE: Final = "UnableToPersistBroadcast"
PUBLIC: Final = "Only a broadcast of a private channel can be stored"
NO_DATABASE: Final = "This server runs without a database: it stores no broadcasts"
#: Broadcasts on their way through the database whose senders do not want them back.
OWN: Final = 10_000


class NoStorage:
    """The storage of a server without a database."""

    async def store(self, storage: Storage) -> None:  # noqa: ARG002  # the port's name
        raise NotPersisted(CODE, NO_DATABASE)


@define
class OwnBroadcasts:
    """Who stored which broadcast and does not want to hear it; the oldest are forgotten beyond a limit."""

    _senders: dict[str, JoinKey] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._senders)

    def note(self, row_id: str, sender: JoinKey) -> None:
        """Remember the sender of a broadcast that is about to be stored."""
        if len(self._senders) >= OWN:
            del self._senders[next(iter(self._senders))]
        self._senders[row_id] = sender

    def sender(self, row_id: str) -> tuple[JoinKey, ...]:
        """Return the sender, if there is one to be left out."""
        found = self._senders.get(row_id)
        return () if found is None else (found,)

    def forget(self, row_id: str) -> None:
        """Forget a broadcast that was delivered, or not stored after all."""
        self._senders.pop(row_id, None)


async def persist(
    message: UserBroadcast,
    wish: Persist,
    question: PolicyQuestion,
    tenant: Tenant,
    *,
    is_private: bool,
    skip: JoinKey | None = None,
) -> None:
    """Store a broadcast, which is delivered to everybody but `skip` by that; waits for the database.

    Raises:
        Forbidden: policies deny it, or the topic is reserved.
        PolicyUndecided: they could not be asked.
        NotPersisted: it cannot be stored; with a sentence for its sender.
    """
    if wish.fault is not None:
        raise NotPersisted(CODE, wish.fault)
    if not is_private:
        raise NotPersisted(CODE, PUBLIC)
    if is_reserved(question.sub_topic):
        raise Forbidden("Unauthorized", "Unauthorized")
    row_id = str(UUID(int=tenant.random.getrandbits(128), version=4))
    own = tenant.channels.own
    if skip is not None:
        own.note(row_id, skip)
    stored = False
    try:
        await tenant.storage.store(Storage(row_id, question, message, wish.ttl_s))
        stored = True
    finally:
        if not stored:
            own.forget(row_id)
