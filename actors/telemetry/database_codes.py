"""The codes around the database: policies, row changes and stored broadcasts; part of the table in `codes.py`."""

from __future__ import annotations

from typing import Final

from actors.telemetry.code import Code, Fault, Place

DATABASE: Final = (
    # What policies are asked (docs/howto/private-channels.md).
    Code(
        "QueryCanceled",
        "The policies of a private topic took too long.",
        Fault.OPERATOR,
        (Place.JOIN, Place.SYSTEM, Place.REST),
    ),
    Code(
        "MissingPartition",
        "realtime.messages has no partition for today.",
        Fault.OPERATOR,
        (Place.JOIN, Place.SYSTEM, Place.REST),
    ),
    Code(
        "IncreaseConnectionPool",
        "All connections for policies are busy.",
        Fault.OPERATOR,
        (Place.JOIN, Place.SYSTEM, Place.REST),
    ),
    Code(
        "UnableToConnectToProject",
        "The database, whose policies are to be asked, cannot be reached.",
        Fault.OPERATOR,
        (Place.JOIN, Place.SYSTEM, Place.REST),
    ),
    # Row changes, and broadcasts that are stored.
    Code(
        "UnableToSubscribeToPostgres",
        "A join that wants to wait for row changes cannot have them in time; the sentence behind it says why.",
        Fault.OPERATOR,
        (Place.JOIN,),
    ),
    Code(
        "DatabaseLackOfRetention",
        "The database keeps so much of its log for this server that nobody else is let in who wants row changes.",
        Fault.OPERATOR,
        (Place.JOIN,),
    ),
    Code(
        "MalformedChange",
        "The replication stream does not follow its format; the commit is read again, and skipped if that is no help.",
        Fault.SERVER,
        (Place.LOG,),
    ),
    Code(
        "UnableToBroadcastChanges",
        "A row of `realtime.messages` is not broadcast; `reason` names the column that is missing,"
        " or says that the payload is too large or that there are too many.",
        Fault.CLIENT,
        (Place.LOG,),
    ),
    Code(
        "UnableToPersistBroadcast",
        "A broadcast that its sender wants stored cannot be; a sentence says why.",
        Fault.CLIENT,
        (Place.REPLY, Place.REST),
    ),
    Code(
        "not_persisted",
        "A broadcast that its sender wanted stored was not, and was not delivered either.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "incomplete",
        "A row of `realtime.messages` lacks what a broadcast needs; the log says `broadcast.skipped`.",
        Fault.CLIENT,
        (Place.METRIC,),
    ),
    Code(
        "crash",
        "A change was given up because handling it crashed twice; its subscribers are told.",
        Fault.SERVER,
        (Place.METRIC,),
    ),
    Code(
        "evicted",
        "A change was pushed out of the full change log before it was delivered; its subscribers are told.",
        Fault.SERVER,
        (Place.METRIC,),
    ),
    Code(
        "gap",
        "Changes were lost while the stream was away; all subscribers are told.",
        Fault.OPERATOR,
        (Place.METRIC,),
    ),
)
