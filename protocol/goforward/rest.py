"""The bodies of GoForward's HTTP requests: from bytes to values, or to the sentence that their client is told.

Called by `actors.web.goforward*`, which know about requests; here is only what stands in the bodies.

**Invariants**
- JSON that is passed on (metadata, payloads, states) stays the bytes it arrived as.
- Nothing but `InvalidRequest` and `InvalidSubscription` is raised, whatever the body.

**Source**: ledger GF-010 (channels), GF-044 (broadcasts), GF-049 (presence), GF-051 (subscriptions), GF-143 (partial).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from attrs import frozen
from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame, ProtocolError
from protocol.goforward.names import NAME_RULE, is_channel_name
from protocol.managed import ChangeFilter, ChannelConfig
from protocol.managed_json import InvalidConfig, read_config
from protocol.presence.meta import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

MOST_COLUMNS: Final = 200
EVENT_CHARACTERS: Final = 255
#: Longer than any name of Postgres, and than any condition that people write.
NAME_CHARACTERS: Final = 63
CONDITION_CHARACTERS: Final = 4096
KINDS: Final = ("INSERT", "UPDATE", "DELETE")

_Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]


class InvalidRequest(ProtocolError):
    """The body is not what its address takes; `reason` is a sentence for the client."""

    code = "INVALID_REQUEST"


class InvalidSubscription(ProtocolError):
    """The body does not say whose changes are wanted; `reason` is a sentence for the client."""

    code = "DB_SUBSCRIPTION_FAILED"


@frozen
class PostedMessage:
    """A broadcast as posted: `kind` is `message` or `broadcast`, `payload` is JSON.

    `private` asks for the private channel of the name, where policies decide as well.
    """

    kind: str
    event: str
    payload: bytes
    private: bool


class _Named(Struct):
    name: str


class _Message(Struct):
    event: Annotated[str, Meta(min_length=1, max_length=EVENT_CHARACTERS)]
    type: str = "message"
    payload: Raw = Raw(b"{}")
    private: bool = False


class _State(Struct):
    state: Raw


class _Filter(Struct):
    table: _Name
    schema: _Name = "public"
    events: list[str] | None = None
    columns: Annotated[list[_Name], Meta(max_length=MOST_COLUMNS)] | None = None
    condition: Annotated[str, Meta(max_length=CONDITION_CHARACTERS)] | None = None


_named: Final = Decoder(_Named)
_message: Final = Decoder(_Message)
_state: Final = Decoder(_State)
_filter: Final = Decoder(_Filter)
_members: Final = Decoder(dict[str, Raw])

_MESSAGE_RULE: Final = (
    f"a broadcast has an event of 1 to {EVENT_CHARACTERS} characters, and may have type (message or broadcast),"
    " payload and private (true or false)"
)
_FILTER_RULE: Final = (
    "a subscription has a table, and may have schema, events (INSERT, UPDATE, DELETE),"
    " columns and condition"
)


def parse_channel(body: bytes) -> tuple[str, ChannelConfig]:
    """Return name and configuration of a channel to be created.

    Raises:
        InvalidRequest: it cannot be created like this.
    """
    name = _decoded(_named, body, NAME_RULE).name
    if not is_channel_name(name):
        raise InvalidRequest(NAME_RULE)
    try:
        return name, read_config(body)
    except InvalidConfig as fault:
        raise InvalidRequest(fault.reason) from None


def parse_message(body: bytes) -> PostedMessage:
    """Return the broadcast that a body asks for.

    Raises:
        InvalidRequest: it asks for none.
    """
    message = _decoded(_message, body, _MESSAGE_RULE)
    if message.type not in ("message", "broadcast"):
        raise InvalidRequest(_MESSAGE_RULE)
    return PostedMessage(message.type, message.event, bytes(message.payload), message.private)


def parse_state(body: bytes) -> bytes:
    """Return the presence state in a body, a JSON object.

    Raises:
        InvalidRequest: there is none, or one that not every client could read.
    """
    rule = "presence has a state, which is an object"
    state = bytes(_decoded(_state, body, rule).state)
    try:
        return readable(state)
    except MalformedFrame:
        raise InvalidRequest(rule) from None


def parse_filter(body: bytes) -> ChangeFilter:
    """Return whose changes a body asks for; what its condition comes to is for the caller to find out.

    Raises:
        InvalidRequest: the body is no JSON object.
        InvalidSubscription: it is one, and asks for no changes that there could be.
    """
    _decoded(_members, body, _FILTER_RULE)
    try:
        asked = _decoded(_filter, body, _FILTER_RULE)
    except InvalidRequest as fault:
        raise InvalidSubscription(fault.reason) from None
    # With these a name would be a pattern, and stand for other tables as well.
    names = (asked.table, asked.schema, *(asked.columns or ()))
    if any(set(name) & set("*%") or not name.isprintable() for name in names):
        raise InvalidSubscription("a name has characters that are not taken")
    events = (
        KINDS if asked.events is None else tuple(dict.fromkeys(map(str.upper, asked.events)))
    )
    if not events or not set(events) <= set(KINDS):
        raise InvalidSubscription("events are INSERT, UPDATE and DELETE")
    columns = None if not asked.columns else tuple(dict.fromkeys(asked.columns))
    condition = asked.condition if asked.condition and asked.condition.strip() else None
    return ChangeFilter(asked.table, asked.schema, events, columns, condition)


def filter_members(wanted: ChangeFilter) -> dict[str, str | Sequence[str]]:
    """Return a filter as its client gave it, with the defaults in it; JSON values only."""
    members: dict[str, str | Sequence[str]] = {
        "table": wanted.table,
        "schema": wanted.schema,
        "events": wanted.events,
    }
    if wanted.columns is not None:
        members["columns"] = wanted.columns
    if wanted.condition is not None:
        members["condition"] = wanted.condition
    return members


def _decoded(decoder: Decoder[T], body: bytes, rule: str) -> T:
    try:
        jsontext.check(body)
    except MalformedFrame:
        raise InvalidRequest("the body is not JSON") from None
    try:
        return jsontext.decode(decoder, body)
    except MalformedFrame:
        raise InvalidRequest(rule) from None
