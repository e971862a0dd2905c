"""Who is connected: a table of a tenant's open connections, for those who look at it from outside.

Not an actor. Each connection enters itself when its socket is open, and takes itself out when that ends;
`snapshot.py` reads it.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

import trio
from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.realtime.membership import Membership
    from actors.realtime.ports import Identity, Opening


@frozen(eq=False)
class OpenConnection:
    """One of them: whom it spoke for when it came, and from where.

    `opened_at` is in seconds on trio's clock.
    `memberships` is the connection's own table, by topic; to be read, not to be kept.
    """

    name: str
    identity: Identity
    peer: str
    opened_at: float
    memberships: Mapping[str, Membership]


def describe(
    name: str, opening: Opening, memberships: Mapping[str, Membership]
) -> OpenConnection:
    """Return the entry of a connection that is open as of now."""
    return OpenConnection(
        name, opening.identity, opening.peer, trio.current_time(), memberships
    )


@define(eq=False)
class OpenConnections:
    """All of them, oldest first."""

    _entries: dict[str, OpenConnection] = field(factory=dict)
    _of_user: Counter[str] = field(factory=Counter[str])

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[OpenConnection]:
        return iter(tuple(self._entries.values()))

    def enter(self, connection: OpenConnection) -> None:
        """Note that a connection is open."""
        self._entries[connection.name] = connection
        self._of_user[connection.identity.user_id] += 1

    def forget(self, name: str) -> None:
        """Note that a connection has ended, if it was open at all."""
        connection = self._entries.pop(name, None)
        if connection is not None:
            user = connection.identity.user_id
            self._of_user[user] -= 1
            if not self._of_user[user]:
                del self._of_user[user]

    def of_user(self, user: str) -> int:
        """Return how many connections came with a token of that user; 0 for the empty name."""
        return self._of_user[user] if user else 0

    def is_among_first(self, name: str, most: int) -> bool:
        """Whether a connection is one of the `most` oldest of its user."""
        connection = self._entries.get(name)
        if connection is None or self.of_user(connection.identity.user_id) <= most:
            return True
        user = connection.identity.user_id
        own = (one.name for one in self._entries.values() if one.identity.user_id == user)
        return name in islice(own, most)
