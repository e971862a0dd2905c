"""Every code that a refusal, a log line or a metric of this server carries.

The table behind docs/reference/error-codes.md; a test holds it against what the source raises
(`tests/architecture/test_codes.py`), so a new code begins with a row here.
A code is stable: programs may compare it, people read the sentence that comes with it.
Here are those of clients and what they send; those around the database, managed channels and a dialect of its own
have files of their own, and Supabase's that do not occur are in `absent_codes.py`.
"""

from __future__ import annotations

from typing import Final

from actors.telemetry.code import Code, Fault, Place
from actors.telemetry.database_codes import DATABASE
from actors.telemetry.goforward_codes import GOFORWARD
from actors.telemetry.managed_codes import MANAGED

CODES: Final = (
    # What is said by the client.
    Code(
        "MalformedWebSocketMessage",
        "A frame is not of the shape that the protocol has; it is dropped without an answer.",
        Fault.CLIENT,
        (Place.LOG, Place.METRIC),
    ),
    Code(
        "UnknownErrorOnWebSocketMessage",
        "A frame is well-formed but of no kind that a client sends; it is dropped without an answer.",
        Fault.CLIENT,
        (Place.LOG, Place.METRIC),
    ),
    Code(
        "TooMuchPending",
        "More was sent for a topic whose join is not answered yet than is kept for it; the connection ends with 1008.",
        Fault.CLIENT,
        (Place.LOG, Place.METRIC),
    ),
    Code(
        "UnsupportedVersion",
        "The `vsn` of the handshake is neither 1.0.x nor 2.0.x: status 403 without a body.",
        Fault.CLIENT,
        (Place.CONNECT,),
    ),
    Code(
        "TopicNameRequired",
        "The topic is `realtime:` and no more.",
        Fault.CLIENT,
        (Place.JOIN,),
    ),
    Code(
        "UnknownErrorOnChannel",
        "The payload of the join cannot be understood or is too large; or the channel is too busy to be joined.",
        Fault.CLIENT,
        (Place.JOIN,),
    ),
    Code(
        "UnprocessableEntity",
        "A broadcast over HTTP is not what its address takes: status 422, and `errors` names each fault.",
        Fault.CLIENT,
        (Place.REST,),
    ),
    Code(
        "InvalidEntry",
        "The members of a `postgres_changes` entry do not go together: no table, or columns of many tables.",
        Fault.CLIENT,
        (Place.SYSTEM,),
    ),
    Code(
        "InvalidFilter",
        "The filter of a `postgres_changes` entry cannot be understood, or not be used with its column.",
        Fault.CLIENT,
        (Place.SYSTEM,),
    ),
    Code(
        "InvalidCondition",
        "The SQL-like condition of a subscription cannot be understood, or asks for too much; the answer says where.",
        Fault.CLIENT,
        (Place.REST,),
    ),
    # Who is speaking.
    Code(
        "MissingAPIKey",
        "There is no API key, neither in the query nor in a header.",
        Fault.CLIENT,
        (Place.CONNECT,),
    ),
    Code(
        "MalformedJWT",
        "The token is not a JWT.",
        Fault.CLIENT,
        (Place.CONNECT, Place.JOIN, Place.SYSTEM),
    ),
    Code(
        "InvalidJWTToken",
        "The token has expired, or lacks `role` or `exp`.",
        Fault.CLIENT,
        (Place.CONNECT, Place.JOIN, Place.SYSTEM),
    ),
    Code(
        "JwtSignatureError",
        "The token is signed with another key than ours.",
        Fault.CLIENT,
        (Place.CONNECT, Place.JOIN, Place.SYSTEM),
    ),
    Code(
        "JwtSignerError",
        "There is no key for the token's algorithm and key ID: the wrong issuer, or keys that are not configured.",
        Fault.OPERATOR,
        (Place.CONNECT, Place.JOIN, Place.SYSTEM),
    ),
    Code(
        "Unauthorized",
        "The identity may not read from this private topic.",
        Fault.CLIENT,
        (Place.JOIN, Place.SYSTEM),
    ),
    # What becomes of a broadcast.
    Code(
        "channel_busy",
        "The channel had no room for five seconds: the broadcast is dropped, over HTTP with status 503.",
        Fault.SERVER,
        (Place.REPLY, Place.REST, Place.METRIC),
    ),
    Code(
        "payload_size_exceeded",
        "The payload is larger than a broadcast may be; the broadcast is dropped.",
        Fault.CLIENT,
        (Place.REPLY, Place.METRIC),
    ),
    Code(
        "payload_not_an_object",
        "The payload of a text broadcast is no JSON object, at which stock clients throw; the broadcast is dropped.",
        Fault.CLIENT,
        (Place.REPLY, Place.METRIC),
    ),
    # What a tenant's settings and quotas allow (docs/reference/limits.md).
    Code(
        "RealtimeDisabledForTenant",
        "The tenant is suspended: `--suspend` is set.",
        Fault.OPERATOR,
        (Place.CONNECT, Place.JOIN),
    ),
    Code(
        "RealtimeRestarting",
        "The server is about to stop; the client comes back to the next one.",
        Fault.SERVER,
        (Place.JOIN,),
    ),
    Code(
        "PrivateOnly",
        "The topic was joined as a public one, and `--private-only` is set.",
        Fault.CLIENT,
        (Place.JOIN,),
    ),
    Code(
        "ConnectionRateLimitReached",
        "As many clients as allowed are in channels.",
        Fault.CLIENT,
        (Place.CONNECT, Place.JOIN),
    ),
    Code(
        "JoinsRateLimitReached",
        "More joins a second than allowed: who connects is answered 429.",
        Fault.CLIENT,
        (Place.CONNECT,),
    ),
    Code(
        "ClientJoinRateLimitReached",
        "More joins a second than allowed: who joins is refused, and the connection closed with 1001.",
        Fault.CLIENT,
        (Place.JOIN,),
    ),
    Code(
        "ChannelRateLimitReached",
        "The client is in as many channels as allowed.",
        Fault.CLIENT,
        (Place.JOIN,),
    ),
    Code(
        "UnableToReplayMessages",
        "The join asks for stored broadcasts that it cannot have.",
        Fault.CLIENT,
        (Place.JOIN,),
    ),
    Code(
        "rate_limited",
        "More events a second than allowed: broadcasts and row changes are dropped.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "unreadable",
        "A presence payload is nested more deeply than other clients could read.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "MessagePerSecondRateLimitReached",
        "The tenant has used up its events per second: broadcasts over HTTP get status 429.",
        Fault.OPERATOR,
        (Place.REST,),
    ),
    # What becomes of presence.
    Code(
        "connection_full",
        "One connection tracks more than it may; the client is answered `error`.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "topic_full",
        "One topic has more tracks than it may; the client is answered `error`.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "denied",
        "The identity may not be present on this private topic; the client is answered `error`.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "not_an_object",
        "What is to be tracked is no JSON object; the client is answered `error`.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "unknown_event",
        "A presence message is neither `track` nor `untrack`; the client is answered `error`.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "too_large",
        "What is to be tracked is larger than it may be; the subscription ends.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "rate",
        "A client sends presence messages faster than it may; the subscription ends.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    *DATABASE,
    *MANAGED,
    *GOFORWARD,
)
