"""Who is connected: a table of a tenant's open connections, for those who look at it from outside.

Not an actor. Each connection enters itself when its socket is open, and takes itself out when that ends;
`snapshot.py` reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.realtime.membership import Membership
    from actors.realtime.ports import Identity


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


@define(eq=False)
class OpenConnections:
    """All of them, oldest first."""

    _entries: dict[str, OpenConnection] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[OpenConnection]:
        return iter(tuple(self._entries.values()))

    def enter(self, connection: OpenConnection) -> None:
        """Note that a connection is open."""
        self._entries[connection.name] = connection

    def forget(self, name: str) -> None:
        """Note that a connection has ended, if it was open at all."""
        self._entries.pop(name, None)
