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
from protocol.managed import ChannelConfig
from protocol.presence.meta import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

#: Room for configuration and metadata: they are kept in memory for every channel, and sent to whoever asks.
CONFIG_BYTES: Final = 16 * 1024
MOST_SUBSCRIBERS: Final = 1_000_000
MOST_ROLES: Final = 64
MOST_COLUMNS: Final = 200
EVENT_CHARACTERS: Final = 255
#: Longer than any name of Postgres, and than any condition that people write.
NAME_CHARACTERS: Final = 63
CONDITION_CHARACTERS: Final = 4096
KINDS: Final = ("INSERT", "UPDATE", "DELETE")

_EMPTY: Final = Raw(b"{}")
_Role = Annotated[str, Meta(min_length=1, max_length=63)]
_Roles = Annotated[list[_Role], Meta(max_length=MOST_ROLES)]
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


@frozen
class ChangeFilter:
    """Whose changes are wanted; `given` is the body, with the defaults in it, to be told again."""

    table: str
    schema: str
    events: tuple[str, ...]
    columns: tuple[str, ...] | None
    condition: str | None

    @property
    def given(self) -> dict[str, str | Sequence[str]]:
        """What it was given as; JSON values only."""
        members: dict[str, str | Sequence[str]] = {
            "table": self.table,
            "schema": self.schema,
            "events": self.events,
        }
        if self.columns is not None:
            members["columns"] = self.columns
        if self.condition is not None:
            members["condition"] = self.condition
        return members


class _Permissions(Struct):
    read: _Roles | None = None
    write: _Roles | None = None
    admin: _Roles | None = None
    max_message_size: Annotated[int, Meta(ge=1)] | None = None
    rate_limit: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class _Channel(Struct):
    name: str
    max_subscribers: Annotated[int, Meta(ge=1, le=MOST_SUBSCRIBERS)] | None = None
    require_auth: bool = True
    permissions: Raw = _EMPTY
    metadata: Raw = _EMPTY


class _Message(Struct):
    event: Annotated[str, Meta(min_length=1, max_length=EVENT_CHARACTERS)]
    type: str = "message"
    payload: Raw = _EMPTY
    private: bool = False


class _State(Struct):
    state: Raw


class _Filter(Struct):
    table: _Name
    schema: _Name = "public"
    events: list[str] | None = None
    columns: Annotated[list[_Name], Meta(max_length=MOST_COLUMNS)] | None = None
    condition: Annotated[str, Meta(max_length=CONDITION_CHARACTERS)] | None = None


_permissions: Final = Decoder(_Permissions)
_channel: Final = Decoder(_Channel)
_message: Final = Decoder(_Message)
_state: Final = Decoder(_State)
_filter: Final = Decoder(_Filter)

_CHANNEL_RULE: Final = (
    "a channel has a name, and may have max_subscribers (a number of at least 1), require_auth (true or false),"
    " permissions and metadata (objects)"
)
_PERMISSIONS_RULE: Final = (
    "permissions are lists of roles (read, write, admin),"
    " and max_message_size and rate_limit, which are numbers of at least 1"
)
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
    if len(body) > CONFIG_BYTES:
        raise InvalidRequest(f"a channel is described in at most {CONFIG_BYTES} bytes")
    channel = _decoded(_channel, body, _CHANNEL_RULE)
    if not is_channel_name(channel.name):
        raise InvalidRequest(NAME_RULE)
    return channel.name, _config(channel)


def read_config(stored: bytes) -> ChannelConfig:
    """Return the configuration that `config_json` wrote.

    Raises:
        InvalidRequest: somebody else wrote it.
    """
    members = _decoded(Decoder(dict[str, Raw]), stored, _CHANNEL_RULE)
    text = jsontext.write({**members, "name": "stored"})
    return _config(_decoded(_channel, text, _CHANNEL_RULE))


def config_json(config: ChannelConfig, default_subscribers: int) -> bytes:
    """Return `{"max_subscribers", "require_auth", "permissions", "metadata"}`."""
    most = config.max_subscribers
    return jsontext.write(
        {
            "max_subscribers": default_subscribers if most is None else most,
            "require_auth": config.require_auth,
            "permissions": Raw(config.permissions),
            "metadata": Raw(config.metadata),
        }
    )


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
    """Return whose changes a body asks for.

    Raises:
        InvalidRequest: the body is no JSON object.
        InvalidSubscription: it is one, and asks for no changes that there could be.
    """
    _decoded(Decoder(dict[str, Raw]), body, _FILTER_RULE)
    try:
        asked = _decoded(_filter, body, _FILTER_RULE)
    except InvalidRequest as fault:
        raise InvalidSubscription(fault.reason) from None
    # With these a name would be a pattern, and stand for other tables as well.
    names = (asked.table, asked.schema, *(asked.columns or ()))
    if any(set(name) & set("*%\0") or not name.isprintable() for name in names):
        raise InvalidSubscription("a name has characters that are not taken")
    events = (
        KINDS if asked.events is None else tuple(dict.fromkeys(map(str.upper, asked.events)))
    )
    if not events or not set(events) <= set(KINDS):
        raise InvalidSubscription("events are INSERT, UPDATE and DELETE")
    columns = None if not asked.columns else tuple(dict.fromkeys(asked.columns))
    condition = asked.condition if asked.condition and asked.condition.strip() else None
    return ChangeFilter(asked.table, asked.schema, events, columns, condition)


def _config(channel: _Channel) -> ChannelConfig:
    given, metadata = (
        b"{}" if raw == b"null" else raw
        for raw in (bytes(channel.permissions), bytes(channel.metadata))
    )
    if not metadata.startswith(b"{"):
        raise InvalidRequest(_CHANNEL_RULE)
    permissions = _decoded(_permissions, given, _PERMISSIONS_RULE)
    return ChannelConfig(
        channel.max_subscribers,
        channel.require_auth,
        _roles(permissions.read),
        _roles(permissions.write),
        _roles(permissions.admin),
        permissions.max_message_size,
        permissions.rate_limit,
        given,
        metadata,
    )


def _roles(roles: list[str] | None) -> frozenset[str] | None:
    return None if roles is None else frozenset(roles)


def _decoded(decoder: Decoder[T], body: bytes, rule: str) -> T:
    try:
        jsontext.check(body)
    except MalformedFrame:
        raise InvalidRequest("the body is not JSON") from None
    try:
        return jsontext.decode(decoder, body)
    except MalformedFrame:
        raise InvalidRequest(rule) from None
