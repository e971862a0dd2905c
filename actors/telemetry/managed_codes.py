"""The codes around managed channels, which clients of every dialect may be told; part of the table in `codes.py`."""

from __future__ import annotations

from typing import Final

from actors.telemetry.code import Code, Fault, Place

MANAGED: Final = (
    Code(
        "ChannelPermissionDenied",
        "The role may not read from this managed channel.",
        Fault.CLIENT,
        (Place.JOIN, Place.SYSTEM),
    ),
    Code(
        "ChannelNotFound",
        "There is no managed channel of this name, and joining one does not create it.",
        Fault.CLIENT,
        (Place.JOIN,),
    ),
    Code(
        "ChannelFull",
        "The managed channel has as many subscribers as it may have.",
        Fault.CLIENT,
        (Place.JOIN,),
    ),
    Code(
        "ChannelLimitReached",
        "There are as many managed channels as there may be.",
        Fault.OPERATOR,
        (Place.JOIN, Place.REST),
    ),
    Code(
        "ChannelsUnknown",
        "The database is away since the start, so nobody knows which channels are managed.",
        Fault.OPERATOR,
        (Place.JOIN, Place.REST),
    ),
    Code(
        "UserConnectionLimitReached",
        "One user has as many connections as allowed.",
        Fault.CLIENT,
        (Place.CONNECT, Place.JOIN),
    ),
    Code(
        "permission_denied",
        "The role may not write to this managed channel; the broadcast or track is dropped.",
        Fault.CLIENT,
        (Place.REPLY, Place.REST),
    ),
    Code(
        "rate_limit_exceeded",
        "One user says more per second than the managed channel allows; the broadcast or track is dropped.",
        Fault.CLIENT,
        (Place.REPLY, Place.REST),
    ),
    Code(
        "feature_disabled",
        "The operator has switched broadcast or presence off.",
        Fault.OPERATOR,
        (Place.REPLY, Place.REST),
    ),
)
