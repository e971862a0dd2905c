"""What a GoForward client is told that cannot have what it asks for: one object, over HTTP and on its socket.

Used by `actors.web.goforward*` as bodies of responses, and by `render` in `system`/`error` messages.
The core has codes of its own (`actors.telemetry.codes`): `problem_of` says them in the words of this dialect.

**Source**: ledger GF-129…134 (objects, statuses), C39 (conditions, hostile names), C44 (CHANNEL_EXISTS);
codes without such a line are ours, and are listed in docs/reference/goforward.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from protocol import jsontext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Seconds after which a client may try again what there was no room for, where nothing better is known.
RETRY_AFTER_S: Final = 30
AUTH_FAILED: Final = "AUTH_FAILED"
INVALID_TOKEN: Final = "Invalid or expired token"  # noqa: S105  # said of one


@frozen
class Problem:
    """The object, and the HTTP status that goes with it; members that are None are left out."""

    status: int
    code: str
    error: str
    details: str | None = None
    required_permission: str | None = None
    retry_after_s: int | None = None

    def body(self) -> bytes:
        """Return the JSON object."""
        members: dict[str, str | int | None] = {
            "error": self.error,
            "code": self.code,
            "details": self.details,
            "required_permission": self.required_permission,
            "retry_after": self.retry_after_s,
        }
        return jsontext.write({k: v for k, v in members.items() if v is not None})


def auth_failed(details: str = INVALID_TOKEN) -> Problem:
    """The token is missing or no good; a socket ends behind this."""
    return Problem(401, code=AUTH_FAILED, error="authentication failed", details=details)


def channel_not_found(name: str) -> Problem:
    """Nobody created this channel."""
    return Problem(404, code="CHANNEL_NOT_FOUND", error=f"channel {name} not found")


def channel_exists(name: str) -> Problem:
    """Somebody created this channel before."""
    return Problem(409, code="CHANNEL_EXISTS", error=f"channel {name} already exists")


def permission_denied(required: str, details: str | None = None) -> Problem:
    """The role of the token lacks `read`, `write` or `admin`; empty if a policy of the database said no."""
    return Problem(
        403,
        code="PERMISSION_DENIED",
        error="insufficient permissions",
        details=details,
        required_permission=required or None,
    )


def rate_limited(retry_after_s: int = RETRY_AFTER_S, details: str | None = None) -> Problem:
    """Too much at a time; after so many seconds there is room again."""
    return Problem(
        429,
        code="RATE_LIMIT_EXCEEDED",
        error="rate limit exceeded",
        details=details,
        retry_after_s=retry_after_s,
    )


def subscription_failed(details: str, *, is_missing: bool = False) -> Problem:
    """The changes of a table cannot be had; `is_missing` if there is no such table."""
    return Problem(
        404 if is_missing else 400,
        code="DB_SUBSCRIPTION_FAILED",
        error="failed to subscribe to database changes",
        details=details,
    )


def invalid_request(details: str) -> Problem:
    """The body or the address is not what is taken here."""
    return Problem(400, code="INVALID_REQUEST", error="invalid request", details=details)


def not_found(details: str) -> Problem:
    """What the address names, other than a channel, is not there."""
    return Problem(404, code="NOT_FOUND", error="not found", details=details)


def method_not_allowed() -> Problem:
    """The address is right and the method is not."""
    return Problem(405, code="METHOD_NOT_ALLOWED", error="method not allowed")


def message_too_large(limit_bytes: int | None = None) -> Problem:
    """The payload has more bytes than it may have here."""
    details = None if limit_bytes is None else f"at most {limit_bytes} bytes are taken"
    return Problem(413, code="MESSAGE_TOO_LARGE", error="message too large", details=details)


def channel_full(name: str) -> Problem:
    """The channel has as many subscribers as it may have."""
    return Problem(
        429,
        code="CHANNEL_FULL",
        error=f"channel {name} is full",
        retry_after_s=RETRY_AFTER_S,
    )


def too_many_channels() -> Problem:
    """There are as many channels as there may be."""
    return Problem(
        429,
        code="CHANNEL_LIMIT_REACHED",
        error="too many channels",
        retry_after_s=RETRY_AFTER_S,
    )


def disabled(feature: str) -> Problem:
    """The operator has switched this off."""
    return Problem(403, code="FEATURE_DISABLED", error=f"{feature} is disabled")


def slow_consumer() -> Problem:
    """The client does not read what it is sent; its connection ends."""
    return Problem(
        503, code="SLOW_CONSUMER", error="this client reads too slowly", retry_after_s=1
    )


#: The page that wants a WebSocket comes from an origin that the operator does not list.
ORIGIN_NOT_ALLOWED: Final = Problem(
    403, code="ORIGIN_NOT_ALLOWED", error="this origin is not allowed"
)


def unavailable(details: str) -> Problem:
    """Something that is needed for this is away for now."""
    return Problem(
        503,
        code="UNAVAILABLE",
        error="service unavailable",
        details=details,
        retry_after_s=1,
    )


@frozen
class _Said:
    """What the core said when it refused."""

    reason: str
    channel: str
    retry_after_s: int | None
    required_permission: str

    def too_much(self) -> Problem:
        """Return that it was too much at a time."""
        after = self.retry_after_s
        return rate_limited(RETRY_AFTER_S if after is None else after, self.reason)


#: What the codes of the core become.
_PROBLEMS: Final[Mapping[str, Callable[[_Said], Problem]]] = {
    **dict.fromkeys(
        (
            "MissingAPIKey",
            "MalformedJWT",
            "InvalidJWTToken",
            "JwtSignatureError",
            "JwtSignerError",
        ),
        lambda said: auth_failed(said.reason),
    ),
    **dict.fromkeys(
        (
            "ConnectionRateLimitReached",
            "JoinsRateLimitReached",
            "ClientJoinRateLimitReached",
            "ChannelRateLimitReached",
            "MessagePerSecondRateLimitReached",
            "UserConnectionLimitReached",
            "rate_limit_exceeded",
        ),
        _Said.too_much,
    ),
    "ChannelPermissionDenied": lambda said: permission_denied(
        said.required_permission or "read"
    ),
    "permission_denied": lambda said: permission_denied(said.required_permission or "write"),
    "denied": lambda _said: permission_denied("write"),
    "Unauthorized": lambda _said: permission_denied(""),
    "PrivateOnly": lambda _said: permission_denied(""),
    "ChannelNotFound": lambda said: channel_not_found(said.channel),
    "ChannelFull": lambda said: channel_full(said.channel),
    "ChannelLimitReached": lambda _said: too_many_channels(),
    "payload_size_exceeded": lambda _said: message_too_large(),
    "payload_not_an_object": lambda said: invalid_request(said.reason),
    "TopicNameRequired": lambda said: invalid_request(said.reason),
    "UnableToSubscribeToPostgres": lambda said: subscription_failed(said.reason),
    "DatabaseLackOfRetention": lambda said: subscription_failed(said.reason),
    "SlowConsumer": lambda _said: slow_consumer(),
    "feature_disabled": lambda said: disabled(said.reason),
}


def problem_of(
    code: str,
    reason: str,
    *,
    channel: str = "",
    retry_after_s: int | None = None,
    required_permission: str = "",
) -> Problem:
    """Return what is said here when the core refused with `code`; `channel` is the channel it was about."""
    said = _Said(reason, channel, retry_after_s, required_permission)
    if not code and "token" in reason.lower():
        return auth_failed(reason)
    say = _PROBLEMS.get(code)
    return unavailable(reason) if say is None else say(said)
