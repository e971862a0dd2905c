"""What the actors of this floor need of the table of stored broadcasts; see `ports.py` for the other protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.realtime.ports import PolicyQuestion
    from protocol.changes.stored import StoredBroadcast
    from protocol.events import UserBroadcast


@frozen
class ReplayQuestion:
    """Which stored broadcasts a join wants: the newest `limit` of a private topic since `since_ms` (milliseconds, UTC).

    Of them the newest that have `size_bytes` together, and the very newest whatever its size.
    """

    sub_topic: str
    since_ms: int
    limit: int
    size_bytes: int


class ReplayStore(Protocol):
    """Broadcasts that were stored."""

    async def newest(self, question: ReplayQuestion) -> Sequence[StoredBroadcast]:
        """Return them, oldest first; what is committed while this waits may be among them.

        Raises:
            Unavailable: they could not be read in time.
        """
        ...


@frozen
class Storage:
    """A broadcast to be stored for a private topic, under the id `row_id`; `question` says for whom and which topic.

    `ttl_s` is how many seconds it may be replayed, None for as long as it is kept.
    """

    row_id: str
    question: PolicyQuestion
    message: UserBroadcast = field(repr=False)
    ttl_s: int | None


class BroadcastStorage(Protocol):
    """Where broadcasts are stored; what is stored streams in as a stored broadcast."""

    async def store(self, storage: Storage) -> None:
        """Store a broadcast if the policies let its sender.

        Raises:
            Forbidden: they do not.
            PolicyUndecided: they could not be asked.
            NotPersisted: the broadcast cannot be stored, whoever sends it.
        """
        ...
