"""Server → client, in no dialect: what a channel or a connection has to say.

Made by the actors and by the sessions, turned into a `Frame` by a dialect's `encode`.
JSON inside an event is kept as the bytes it arrived as: validated once, never decoded and encoded again.
What is made for every message is a msgspec struct: a frozen attrs class takes eight times as long to make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.commands import ChangeBinding

#: What a client calls one of its own pushes; echoed as it came.
ClientRef = str | int | None

EMPTY_OBJECT = b"{}"


class Reply(Struct, frozen=True, gc=False):
    """The answer to one client push; `response` is JSON."""

    ref: ClientRef
    join_ref: ClientRef
    ok: bool
    response: bytes = EMPTY_OBJECT


@frozen
class Joined:
    """The answer to a join that was accepted, with the bindings it may expect changes for."""

    ref: ClientRef
    join_ref: ClientRef
    changes: tuple[ChangeBinding, ...]


@frozen
class JoinRefused:
    """The answer to a join that was refused; the reason is for people, the code is stable, or empty for none."""

    ref: ClientRef
    join_ref: ClientRef
    code: str
    reason: str


@frozen
class PushRefused:
    """A push of a member that was not carried out; for dialects whose clients are told why, ack or not.

    `reason` is a sentence, `code` a stable word; `retry_after_s` is when it makes sense to try again,
    and `required_permission` what the client would have to be allowed.
    """

    ref: ClientRef
    join_ref: ClientRef
    code: str
    reason: str
    retry_after_s: int | None = None
    required_permission: str = ""


@frozen
class System:
    """A notice of the server about one extension of a topic; `channel` is the sub-topic.

    `code` is a stable word for what went wrong, empty where there is none.
    """

    join_ref: ClientRef
    extension: str
    ok: bool
    message: str
    channel: str | None
    code: str = ""


@frozen
class Closed:
    """The subscription ended and shall not come back by itself.

    `reason` and `code` are those of the notice before it; dialects may say them once more, or only here.
    """

    join_ref: ClientRef
    reason: str = ""
    code: str = ""


@frozen
class Replaced:
    """The subscription ended because its own connection joined the topic again."""

    join_ref: ClientRef


@frozen
class Failed:
    """The channel failed; the client is expected to join again."""

    join_ref: ClientRef


class TextBroadcast(Struct, frozen=True, gc=False):
    """A broadcast that came as text: `payload` is the JSON that its sender put there, verbatim."""

    payload: bytes


class UserBroadcast(Struct, frozen=True, gc=False):
    """A broadcast whose name and payload travel apart.

    `payload` is JSON, or any bytes when `is_binary`.
    `metadata` is a JSON object, or empty.
    """

    event: str
    payload: bytes
    is_binary: bool
    metadata: bytes = b""


@frozen
class ReplayedBroadcast:
    """A stored broadcast that a join asked for; the metadata of `message` says so."""

    join_ref: ClientRef
    message: UserBroadcast


@frozen
class RowChange:
    """One row change for the bindings `ids`; `data` is the JSON object of spec 6.3."""

    ids: tuple[int, ...]
    data: bytes


@frozen
class BareRowChange:
    """One row change for a subscription that its topic alone describes; `kind` is INSERT, UPDATE or DELETE."""

    kind: str
    data: bytes


@frozen
class PresenceState:
    """Who is present when somebody joins; `metas` is a JSON object, `{key: {"metas": [{…, "phx_ref": …}]}}`."""

    join_ref: ClientRef
    metas: bytes


@frozen
class PresenceDiff:
    """Who came and who went since then, each a JSON object like that of `PresenceState`.

    Clients apply the joins first, then the leaves by `phx_ref`.
    `known` are the keys in it that were present before, `remaining` those that are present after it;
    for dialects whose clients know keys, and not each meta.
    """

    joins: bytes
    leaves: bytes
    known: frozenset[str] = frozenset()
    remaining: frozenset[str] = frozenset()
    after: Callable[[], bytes] = field(default=lambda: EMPTY_OBJECT, eq=False, repr=False)
    """Who is present then, like `PresenceState.metas`; for dialects that say so each time, while the diff is told."""


Event = (
    Reply
    | Joined
    | JoinRefused
    | PushRefused
    | System
    | Closed
    | Replaced
    | Failed
    | TextBroadcast
    | UserBroadcast
    | ReplayedBroadcast
    | RowChange
    | BareRowChange
    | PresenceState
    | PresenceDiff
)
