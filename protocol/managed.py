"""What somebody decided about a channel: how many may be in it, who may do what, whose row changes its members get.

Read from requests by `protocol.goforward.rest`, enforced in every dialect by `actors.realtime.managed_channels`.

**Source**: ledger GF-010…015, GF-108, GF-124, C31 (two kinds of keys), C38 (service_role; no permissions),
C37 (no token), GF-051…056 (row changes).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import frozen

from protocol.commands import ChangeBinding

SERVICE_ROLE: Final = "service_role"
ANONYMOUS: Final = "anon"
#: With this begin the names of the rooms in which row changes are delivered.
ROOM_PREFIX: Final = "goforward:"


class Permission(Enum):
    """What a role may do in a channel: join it, say something in it, manage it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@frozen
class ChannelConfig:
    """The configuration of a channel.

    `max_subscribers` is None for the server's default.
    `read`, `write` and `admin` are roles; one that is None is the one before it, and without `read` everybody
    may, but the role `anon` only if `require_auth` is false.
    Whatever the lists say, `anon` never manages the channel, and who has no token needs `require_auth` to be false.
    `max_message_bytes` bounds a payload, `rate_limit` the messages of one user per second.
    `permissions` and `metadata` are the JSON objects as they were given.
    """

    max_subscribers: int | None = None
    require_auth: bool = True
    read: frozenset[str] | None = None
    write: frozenset[str] | None = None
    admin: frozenset[str] | None = None
    max_message_bytes: int | None = None
    rate_limit: int | None = None
    permissions: bytes = b"{}"
    metadata: bytes = b"{}"

    def allows(self, role: str, permission: Permission) -> bool:
        """Whether a role has a permission here."""
        if role == SERVICE_ROLE:
            return True
        if role == ANONYMOUS and permission is Permission.ADMIN:
            return False
        roles = self._roles(permission)
        if roles is not None:
            return role in roles
        return role != ANONYMOUS or not self.require_auth

    def allows_nobody(self, permission: Permission) -> bool:
        """Whether it takes no token to have a permission here."""
        return not self.require_auth and self.allows(ANONYMOUS, permission)

    def _roles(self, permission: Permission) -> frozenset[str] | None:
        lists = [self.read, self.write, self.admin]
        wanted = list(Permission).index(permission)
        given = [roles for roles in lists[: wanted + 1] if roles is not None]
        return given[-1] if given else None


def room_of(channel: str, subscription_id: str) -> str:
    """Return the sub-topic in which the members of a channel get the row changes of one of its subscriptions."""
    return f"{ROOM_PREFIX}{channel}:{subscription_id}"


@frozen
class ChangeFilter:
    """Whose row changes all members of a channel get.

    `condition` is as it was given, `filters` what it comes to: a row is delivered that matches any of them,
    or every row if there is none.
    """

    table: str
    schema: str
    events: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    condition: str | None = None
    filters: tuple[str, ...] = ()

    def bindings(self) -> tuple[ChangeBinding, ...]:
        """Return what a member is subscribed to."""
        wanted = [(event, text) for event in self.events for text in self.filters or (None,)]
        return tuple(
            ChangeBinding(number, b"{}", event, self.schema, self.table, text, self.columns)
            for number, (event, text) in enumerate(wanted, 1)
        )
