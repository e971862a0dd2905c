"""What a GoForward connection joins: its one channel, and a room of its own for each subscription of that channel.

Used by `session`, which joins them, and by `render`, which tells them apart.
A room of a subscription is for row changes alone. Clients of other dialects can join it by its name,
to no effect: nothing else that is said there is rendered, and it has no changes but those each member asks for.
"""

from __future__ import annotations

from typing import Final

_CHANNEL: Final = "channel:"
_SUBSCRIPTION: Final = "subscription:"


def channel_topic(channel: str) -> str:
    """Return the topic of a channel on a connection."""
    return _CHANNEL + channel


def subscription_topic(subscription: str) -> str:
    """Return the topic of a subscription on a connection."""
    return _SUBSCRIPTION + subscription


def is_subscription(topic: str) -> bool:
    """Whether a topic is that of a subscription."""
    return topic.startswith(_SUBSCRIPTION)
