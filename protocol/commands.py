"""Client → server, in no dialect: what a session understood from one frame.

Made by the dialect sessions, carried out by `actors.realtime.connection`.
A topic is joined once at a time per connection; `number` counts the joins of the connection,
so that what belongs to an earlier join of the same topic can be told apart.
The command there is most of is a msgspec struct, as in `events`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import field, frozen
from msgspec import Struct

if TYPE_CHECKING:
    from protocol.events import ClientRef, Reply, TextBroadcast, UserBroadcast


@frozen
class ChangeBinding:
    """One `postgres_changes` entry of a join.

    `entry` is the JSON object as sent, to be echoed verbatim; `id` is stable for equal entries and never 0.
    `kind` is INSERT, UPDATE, DELETE or `*`; `schema` and `table` are as sent, None when missing.
    `fault` says in words for the client why the entry cannot be subscribed; what is faulty is then None here.
    `takes_paths`: the filter may have paths into JSON on the left side.
    `is_legacy` marks the one binding of a join whose topic says what it is for: its changes come bare, without ids.
    """

    id: int
    entry: bytes
    kind: str
    schema: str | None
    table: str | None
    filter: str | None
    select: tuple[str, ...] | None = None
    fault: str | None = None
    is_legacy: bool = False
    takes_paths: bool = False


@frozen
class SharedChanges:
    """Row changes that somebody subscribed a whole channel to; `id` is unique within the tenant."""

    id: str
    changes: tuple[ChangeBinding, ...]


@frozen
class ReplayRequest:
    """Which stored broadcasts a join wants first: the newest `limit` since `since_ms`, oldest first.

    `since_ms` is in milliseconds since 1970-01-01 UTC; a value that was no integer is None and cannot be granted.
    """

    since_ms: int | None
    limit: int | None


@frozen
class JoinFault:
    """Why a join is refused whatever else is true; `code` is stable, or empty for none."""

    code: str
    reason: str


@frozen
class JoinOptions:
    """What a join asked for, defaults filled in."""

    ack: bool = False
    echo: bool = False
    """Deliver the connection's own broadcasts to it as well (`self` on the wire)."""
    replication_ready: bool = False
    """Say once when the database's changes stream in."""
    replay: ReplayRequest | None = None
    private: bool = False
    presence_enabled: bool = False
    presence_key: str = ""
    changes: tuple[ChangeBinding, ...] = ()
    wait_s: float | None = None
    """Answer the join only when row changes flow, and refuse it if they do not within so many seconds."""
    access_token: str | None = None
    user_token: str | None = None
    managed: bool = False
    """The topic is a channel that somebody created, or else is created by this join, or the join is refused."""
    is_shared: bool = False
    """No client asked for this join: a channel that it is in got row changes for all its members."""


@frozen
class Heartbeat:
    """Are you there?"""

    topic: str
    ref: ClientRef


@frozen
class Join:
    """Subscribe to a topic; `replaces` is the number of the join this one takes the place of.

    `sub_topic` is the topic without the dialect's prefix.
    One with a `fault` is refused like any other: late, and in place of an earlier join.
    """

    topic: str
    sub_topic: str
    number: int
    ref: ClientRef
    join_ref: ClientRef
    options: JoinOptions
    replaces: int | None = None
    warnings: tuple[str, ...] = field(default=())
    """What was wrong with the payload and took its default instead; for the log."""
    fault: JoinFault | None = None


@frozen
class Leave:
    """End the subscription of join `number`."""

    topic: str
    number: int
    ref: ClientRef
    join_ref: ClientRef


@frozen
class Persist:
    """That a broadcast is to be stored; `ttl_s` is how many seconds it may be replayed, None for as long as it is kept.

    `fault` says in words for the client why that cannot be.
    """

    ttl_s: int | None = None
    fault: str | None = None


class Broadcast(Struct, frozen=True, gc=False):
    """Deliver to everybody on the topic; `persist` if it is to be stored, and delivered by that."""

    topic: str
    number: int
    ref: ClientRef
    join_ref: ClientRef
    message: TextBroadcast | UserBroadcast
    persist: Persist | None = None


@frozen
class PostedBroadcast:
    """A broadcast from somebody who is not joined: it came over HTTP, with the sub-topic it is for."""

    sub_topic: str
    private: bool
    message: TextBroadcast | UserBroadcast


@frozen
class AccessToken:
    """A new token for a joined topic; `token` is None when it was no string.

    One with a `ref` is answered when the topic speaks with it; for dialects whose clients are told.
    """

    topic: str
    number: int
    token: str | None
    ref: ClientRef = None


class PresenceAction(Enum):
    """What a presence push asks for."""

    TRACK = "be present with this payload, in place of an earlier one"
    UNTRACK = "be absent"
    NOTHING = "it names no event"
    UNKNOWN = "it names an event that there is not"


@frozen
class PresencePush:
    """Something about the client's own presence on a topic.

    `payload` is for TRACK: the JSON object to track, None if it was no object.
    """

    topic: str
    number: int
    ref: ClientRef
    join_ref: ClientRef
    action: PresenceAction
    payload: bytes | None = None


@frozen
class UnknownPush:
    """Something that a joined topic does not know; it is counted and gets no answer."""

    topic: str
    number: int


@frozen
class Answer:
    """The session itself decided what to say; nothing else is to be done."""

    topic: str
    reply: Reply


Command = (
    Heartbeat | Join | Leave | Broadcast | AccessToken | PresencePush | UnknownPush | Answer
)
