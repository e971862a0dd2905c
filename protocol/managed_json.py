"""The configuration of a channel as JSON: what its creator sent, what is answered, and what is stored of it.

Called by `protocol.goforward.rest` and by whoever loads stored channels.

**Invariants**
- `permissions` and `metadata` stay the bytes they arrived as.
- What `config_json` writes, `read_config` reads as the same configuration.

**Source**: ledger GF-010, GF-011, GF-108, GF-143 (partial bodies are taken).
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame, ProtocolError
from protocol.managed import ChangeFilter, ChannelConfig

T = TypeVar("T")

#: Room for configuration and metadata: they are kept in memory for every channel, and sent to whoever asks.
CONFIG_BYTES: Final = 16 * 1024
MOST_SUBSCRIBERS: Final = 1_000_000
MOST_ROLES: Final = 64

_EMPTY: Final = Raw(b"{}")
_Role = Annotated[str, Meta(min_length=1, max_length=63)]
_Roles = Annotated[list[_Role], Meta(max_length=MOST_ROLES)]


class InvalidConfig(ProtocolError):
    """The text configures no channel; `reason` is a sentence for the client."""

    code = "INVALID_REQUEST"


class _Permissions(Struct):
    read: _Roles | None = None
    write: _Roles | None = None
    admin: _Roles | None = None
    max_message_size: Annotated[int, Meta(ge=1)] | None = None
    rate_limit: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class _Config(Struct):
    max_subscribers: Annotated[int, Meta(ge=1, le=MOST_SUBSCRIBERS)] | None = None
    require_auth: bool = True
    permissions: Raw = _EMPTY
    metadata: Raw = _EMPTY


_read_permissions: Final = Decoder(_Permissions)
_read_config: Final = Decoder(_Config)
_read_filter: Final = Decoder(ChangeFilter)

_CONFIG_RULE: Final = (
    "a channel has a name, and may have max_subscribers (a number of at least 1), require_auth (true or false),"
    " permissions and metadata (objects)"
)
_PERMISSIONS_RULE: Final = (
    "permissions are lists of roles (read, write, admin),"
    " and max_message_size and rate_limit, which are numbers of at least 1"
)


def config_json(config: ChannelConfig, default_subscribers: int | None = None) -> bytes:
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


def read_config(text: bytes) -> ChannelConfig:
    """Return the configuration in a JSON object, whose other members do not matter.

    Raises:
        InvalidConfig: there is none in it.
    """
    if len(text) > CONFIG_BYTES:
        raise InvalidConfig(f"a channel is described in at most {CONFIG_BYTES} bytes")
    found = _decoded(_read_config, text, _CONFIG_RULE)
    given, metadata = _object(found.permissions), _object(found.metadata)
    if not metadata.startswith(b"{"):
        raise InvalidConfig(_CONFIG_RULE)
    permissions = _decoded(_read_permissions, given, _PERMISSIONS_RULE)
    return ChannelConfig(
        found.max_subscribers,
        found.require_auth,
        _roles(permissions.read),
        _roles(permissions.write),
        _roles(permissions.admin),
        permissions.max_message_size,
        permissions.rate_limit,
        given,
        metadata,
    )


def filter_json(wanted: ChangeFilter) -> bytes:
    """Return a filter as it is stored."""
    return jsontext.write(wanted)


def read_filter(text: bytes) -> ChangeFilter:
    """Return a filter that was stored.

    Raises:
        InvalidConfig: somebody else wrote it.
    """
    return _decoded(_read_filter, text, "no stored filter")


def _object(raw: Raw) -> bytes:
    text = bytes(raw)
    return b"{}" if text == b"null" else text


def _roles(roles: list[str] | None) -> frozenset[str] | None:
    return None if roles is None else frozenset(roles)


def _decoded(decoder: Decoder[T], text: bytes, rule: str) -> T:
    try:
        jsontext.check(text)
        return jsontext.decode(decoder, text)
    except MalformedFrame:
        raise InvalidConfig(rule) from None
