"""The codes that GoForward's clients are told, in the words of that dialect; part of the table in `codes.py`."""

from __future__ import annotations

from typing import Final

from actors.telemetry.code import Code, Fault, Place

GOFORWARD: Final = (
    Code(
        "AUTH_FAILED",
        "GoForward: the token is missing or no good: status 401, and a socket ends behind it.",
        Fault.CLIENT,
        (
            Place.CONNECT,
            Place.SYSTEM,
            Place.REST,
        ),
    ),
    Code(
        "CHANNEL_NOT_FOUND",
        "GoForward: nobody created this channel: status 404.",
        Fault.CLIENT,
        (
            Place.CONNECT,
            Place.SYSTEM,
            Place.REST,
        ),
    ),
    Code(
        "CHANNEL_EXISTS",
        "GoForward: somebody created this channel before: status 409.",
        Fault.CLIENT,
        (Place.REST,),
    ),
    Code(
        "PERMISSION_DENIED",
        "GoForward: the role may not; `required_permission` says what it takes: status 403.",
        Fault.CLIENT,
        (
            Place.CONNECT,
            Place.SYSTEM,
            Place.REST,
        ),
    ),
    Code(
        "RATE_LIMIT_EXCEEDED",
        "GoForward: too much at a time; `retry_after` is in seconds: status 429.",
        Fault.CLIENT,
        (
            Place.CONNECT,
            Place.SYSTEM,
            Place.REST,
        ),
    ),
    Code(
        "DB_SUBSCRIPTION_FAILED",
        "GoForward: the changes of a table cannot be had, `details` says why: status 400, 404 without the table.",
        Fault.CLIENT,
        (
            Place.SYSTEM,
            Place.REST,
        ),
    ),
    Code(
        "INVALID_REQUEST",
        "GoForward: a body or a name is not what is taken: status 400.",
        Fault.CLIENT,
        (
            Place.SYSTEM,
            Place.REST,
        ),
    ),
    Code(
        "NOT_FOUND",
        "GoForward: what the address names, other than a channel, is not there: status 404.",
        Fault.CLIENT,
        (Place.REST,),
    ),
    Code(
        "METHOD_NOT_ALLOWED",
        "GoForward: the address is right and the method is not: status 405.",
        Fault.CLIENT,
        (Place.REST,),
    ),
    Code(
        "MESSAGE_TOO_LARGE",
        "GoForward: a payload has more bytes than it may have: status 413.",
        Fault.CLIENT,
        (
            Place.SYSTEM,
            Place.REST,
        ),
    ),
    Code(
        "CHANNEL_FULL",
        "GoForward: the channel has as many subscribers as it may have: status 429.",
        Fault.CLIENT,
        (
            Place.CONNECT,
            Place.SYSTEM,
        ),
    ),
    Code(
        "CHANNEL_LIMIT_REACHED",
        "GoForward: there are as many channels as there may be: status 429.",
        Fault.OPERATOR,
        (
            Place.CONNECT,
            Place.REST,
        ),
    ),
    Code(
        "FEATURE_DISABLED",
        "GoForward: the operator has switched this off: status 403.",
        Fault.OPERATOR,
        (
            Place.SYSTEM,
            Place.REST,
        ),
    ),
    Code(
        "ORIGIN_NOT_ALLOWED",
        "GoForward: the page that wants a WebSocket is of no origin that is listed: status 403.",
        Fault.OPERATOR,
        (Place.CONNECT,),
    ),
    Code(
        "SLOW_CONSUMER",
        "GoForward: the client does not read what it is sent; its socket ends behind it.",
        Fault.CLIENT,
        (Place.SYSTEM,),
    ),
    Code(
        "SlowConsumer",
        "The client does not read what it is sent, and is disconnected with 1008.",
        Fault.CLIENT,
        (Place.SYSTEM,),
    ),
    Code(
        "UNAVAILABLE",
        "GoForward: something that is needed is away, the database for one: status 503.",
        Fault.SERVER,
        (
            Place.CONNECT,
            Place.SYSTEM,
            Place.REST,
        ),
    ),
)
