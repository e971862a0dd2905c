"""Every message the actors of this floor accept, one closed union per actor."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from attrs import field, frozen
from msgspec import Struct

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.ref import Ref, Reply
    from actors.realtime.replaying import ReplayGate
    from actors.realtime.roster import Subscription
    from actors.realtime.topic_presence import TopicPresence
    from protocol.events import TextBroadcast, UserBroadcast


class ChannelKey(NamedTuple):
    """The name of a channel: public and private channels of one name are different channels."""

    tenant: str
    is_private: bool
    sub_topic: str


class RowsKey(NamedTuple):
    """The name of the rows actor beside a channel.

    A channel that is started after another of its key was given up has a rows actor of its own,
    for the other's may still wait for an answer.
    """

    rows_of: ChannelKey
    channel: Ref[ChannelMessage]


@frozen
class PresenceKey:
    """The name of the presence actor beside a channel; of that channel alone, as for rows actors.

    No tuple, or it would be equal to the name of that channel's rows actor.
    """

    presence_of: ChannelKey
    channel: Ref[ChannelMessage]


class JoinKey(NamedTuple):
    """One join of one connection; a rejoin of the same topic has another number."""

    connection: str
    number: int


@frozen
class Attach:
    """Enter a subscription in the roster; `greeting` is pushed to it in the same block, so it comes first.

    Right behind it comes what is behind the `gate`, if there is one.

    Attaching twice is attaching once: who lost the answer may ask again.
    """

    subscription: Subscription
    greeting: bytes = field(repr=False)
    attached: Reply[TopicPresence]
    gate: ReplayGate | None = None


@frozen
class Detach:
    """Take a subscription out of the roster, if it is there still; `farewell` is pushed last, in the same block."""

    subscription: Subscription
    farewell: bytes = field(repr=False)


@frozen
class Refresh:
    """Put a subscription that speaks for another identity in the place of the one of the same join, if it is there.

    Doing so twice is doing so once: who lost the answer may ask again.
    """

    subscription: Subscription
    refreshed: Reply[None]


class Publish(Struct, frozen=True, gc=False):
    """Deliver an event of user `sender`, empty for nobody known, to everybody on the roster but `skip`."""

    event: TextBroadcast | UserBroadcast
    skip: JoinKey | None = None
    sender: str = ""

    @override
    def __repr__(self) -> str:
        # What clients say stays out of logs.
        return f"Publish(skip={self.skip!r})"


@frozen
class EndSubscriptions:
    """End the subscriptions that `keeps` does not want; their clients read the refusal, and are not to join again."""

    keeps: Callable[[Subscription], bool]
    refusal: str
    code: str = ""


@frozen
class PresenceChanged:
    """There may be something to tell of who is present; the channel looks after every batch."""


@frozen
class HearPresence:
    """Let a join hear from now on who comes and goes."""

    key: JoinKey


ChannelMessage = (
    Attach | Detach | Refresh | Publish | EndSubscriptions | PresenceChanged | HearPresence
)


@frozen
class Wake:
    """There is something to do in the backlog, or the change source came or went."""


RowsMessage = Wake
RelayMessage = Wake


@frozen
class TracksChanged:
    """Look at the tracks of the topic."""


PresenceMessage = TracksChanged


@frozen
class SubscriptionEnded:
    """The channel ended the subscription of that join.

    The connection tells the client: it may hear first of the end of a channel that this left without subscribers.
    Without a `refusal` the channel failed and the client is to join again; with one it reads that, and is not.
    """

    topic: str
    number: int
    refusal: str | None = None
    code: str = ""


@frozen
class SharedChangesMoved:
    """The row changes that all members of the public channel `sub_topic` get are not what they were."""

    sub_topic: str


@frozen
class StateSet:
    """Let the subscription of that join be present with a payload that its user set from elsewhere."""

    topic: str
    number: int
    payload: bytes = field(repr=False)


@frozen
class AlarmRang:
    """A time has come that was named to the connection's alarm: look after tokens, and after having no channel."""


ConnectionMessage = SubscriptionEnded | SharedChangesMoved | StateSet | AlarmRang


def weight_bytes(message: ChannelMessage) -> int:
    """Return what a message adds to the byte budget of a channel's mailbox."""
    if isinstance(message, Publish):
        return len(message.event.payload) + 256
    return 256
