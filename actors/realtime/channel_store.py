"""Where managed channels are kept, as a protocol, and what it means to keep them nowhere.

Implemented in `actors.db.channel_store`; every implementation and every fake passes `tests/contracts/channel_store.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.managed import ChangeFilter, ChannelConfig


@frozen
class StoredSubscription:
    """Row changes that all members of a channel get; `id` is unique within the tenant.

    `user_id` is who subscribed it, at `created_at` (seconds since 1970-01-01 UTC).
    """

    id: str
    wanted: ChangeFilter
    user_id: str
    created_at: float


@frozen
class StoredChannel:
    """A channel; `is_created` is False if it came into being because somebody joined it."""

    name: str
    config: ChannelConfig
    is_created: bool
    created_by: str
    created_at: float
    subscriptions: tuple[StoredSubscription, ...] = ()


class ChannelStore(Protocol):
    """Keeps channels over restarts; every method raises `Unavailable` when it cannot do so now."""

    async def load(self) -> Sequence[StoredChannel]:
        """Return all channels with their subscriptions; what cannot be read any more is left out."""
        ...

    async def add(self, channel: StoredChannel) -> bool:
        """Keep a channel, without its subscriptions; False if there is one of its name already."""
        ...

    async def remove(self, name: str) -> None:
        """Forget a channel and its subscriptions, if it is there."""
        ...

    async def subscribe(self, channel: StoredChannel, subscription: StoredSubscription) -> None:
        """Keep a subscription, and its channel if that is not there."""
        ...

    async def unsubscribe(self, subscription_id: str) -> None:
        """Forget a subscription, if it is there."""
        ...


@frozen
class NoStore:
    """The store of a server without a database: channels end with the server."""

    async def load(self) -> Sequence[StoredChannel]:
        return ()

    async def add(self, channel: StoredChannel) -> bool:  # noqa: ARG002  # the port's name
        return True

    async def remove(self, name: str) -> None:
        """Do nothing."""

    async def subscribe(self, channel: StoredChannel, subscription: StoredSubscription) -> None:
        """Do nothing."""

    async def unsubscribe(self, subscription_id: str) -> None:
        """Do nothing."""
