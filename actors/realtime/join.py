"""The join procedure: who joins, may they, and into which channel, one step per function.

Called by the connection in a task of its own, so that a join which waits delays nothing else on the socket.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

import trio
from attrs import evolve

from actors.core.errors import ActorCrashed, ActorStopped, AskTimeout
from actors.realtime.errors import Refused, Unavailable
from actors.realtime.interests import Denied
from actors.realtime.membership import Membership
from actors.realtime.messages import Attach, ChannelKey, Detach, JoinKey, Refresh
from actors.realtime.permissions import permissions_of
from actors.realtime.replaying import replay
from actors.realtime.roster import NO_ROWS, Subscription
from actors.realtime.subscribing import Applicant, resolve
from protocol.dialect import EncodeKey
from protocol.events import Joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.core.ref import Ref
    from actors.realtime.messages import ChannelMessage
    from actors.realtime.permissions import Permissions
    from actors.realtime.ports import Identity, TokenVerifier
    from actors.realtime.replaying import ReplayGate
    from actors.realtime.seat import Seat
    from actors.realtime.tenant import Tenant
    from actors.realtime.topic_presence import TopicPresence
    from protocol.changes.model import Lsn
    from protocol.commands import ChangeBinding, Join, JoinOptions

#: Keys of this form are no tokens: a gateway exchanges them.
OPAQUE_KEY_PREFIX = "sb_"
#: How often a channel that ended or crashed at the wrong moment is tried again.
ATTEMPTS = 5
#: Seconds after which a database that could not be asked for its position is asked again.
ASK_AGAIN_S = 0.25
UNABLE = "UnableToSubscribeToPostgres"
TOO_BUSY = "the channel is too busy to be joined"
OVERLOADED = "The database retains too much for this server: try again later"


async def prepare(
    join: Join, seat: Seat, gate: ReplayGate | None
) -> tuple[Subscription, Permissions]:
    """Return the subscription that a join may have, and what it may do with it.

    Waits for keys and policies, for row changes to flow if it wants any, and for stored broadcasts,
    with which it fills the gate of a join that wants them.

    **Source**: spec 5: in a public channel everybody hears who comes and goes,
    in a private one who asked for presence and may read it, and who tracks.

    Raises:
        Refused: it may have none.
    """
    tenant, options = seat.tenant, join.options
    identity = await identify(options, seat.opening.identity, seat.verifier)
    permissions = await permissions_of(
        channel_key(join, tenant),
        identity,
        seat.opening.headers,
        tenant.policies,
        wants_presence=options.presence_enabled or tenant.status.is_presence_enabled,
    )
    from_lsn = await start_of_changes(options, identity, tenant)
    if gate is not None:
        await replay(join, permissions, gate, seat)
    hears = permissions.wants_presence and permissions.read.presence
    subscription = Subscription(
        key=JoinKey(seat.name, join.number),
        connection=seat.inbox.ref,
        outbox=seat.outbox,
        encode_key=EncodeKey(seat.opening.dialect, join.topic),
        join_ref=join.join_ref,
        identity=identity,
        changes=options.changes,
        from_lsn=from_lsn,
        gets_presence_state=hears,
        hears_presence=hears or not options.private,
        hears_broadcasts=permissions.read.broadcast,
        replayed=NO_ROWS if gate is None else gate.replayed,
        is_managed=options.managed,
    )
    return subscription, permissions


async def enter(
    join: Join,
    subscription: Subscription,
    permissions: Permissions,
    gate: ReplayGate | None,
    farewell: bytes,
    seat: Seat,
) -> Membership:
    """Enter a subscription in its channel, which greets it; `farewell` comes right behind that, then a replay.

    A join that waits until its row changes flow is greeted by the rows actor, when they do.

    Raises:
        Refused: the channel did not answer in time, or failed again and again.
    """
    tenant, options = seat.tenant, join.options
    key = channel_key(join, tenant)
    greeting = subscription.encode(Joined(join.ref, join.join_ref, options.changes))
    if options.changes and options.wait_s is not None:
        subscription, greeting = evolve(subscription, greeting=greeting), b""
    channel, presence = await attach(key, subscription, greeting + farewell, gate, tenant)
    return Membership(
        subscription,
        channel,
        key,
        join.sub_topic,
        options.ack,
        options.echo,
        presence,
        presence_key(options, tenant),
        permissions,
    )


async def identify(
    options: JoinOptions, at_connect: Identity, verifier: TokenVerifier
) -> Identity:
    """Return whom the join speaks for: its own token's identity, else the one the socket came with.

    A socket outlives the token it came with; a join begins with a good one, so that token is verified again.

    **Source**: spec 3.1: `user_token` goes before `access_token`, and `access_token` says whether keys are opaque.

    Raises:
        Refused: the token is not valid, or not any more.
    """
    user, access = options.user_token, options.access_token
    decisive = user if access is None else access
    if decisive is None or is_opaque(decisive):
        return await verifier.verify(at_connect.token)
    return await verifier.verify(decisive if user is None else user)


def is_opaque(token: str) -> bool:
    """Whether this is a key that only a gateway understands; what the client came with holds then."""
    return token.startswith(OPAQUE_KEY_PREFIX)


def presence_key(options: JoinOptions, tenant: Tenant) -> str:
    """Return the key under which a join is present, its own or one made up for it.

    **Source**: spec 5: a UUID of version 1. Ours says nothing of time and machine.
    """
    return options.presence_key or str(UUID(bytes=tenant.random.randbytes(16), version=1))


async def start_of_changes(
    options: JoinOptions, identity: Identity, tenant: Tenant
) -> Lsn | None:
    """Wait until row changes flow, and return the position from which on the join gets them.

    None means that it cannot be known yet: the join is let in, and told later when changes flow.

    Raises:
        Refused: the client asked to be let in only when changes flow, and they do not or it cannot have them;
            or the database must not keep more for us.
    """
    feed, limits = tenant.feed, tenant.limits
    if not options.changes:
        return None
    if feed.state.is_pressed:
        raise Refused("DatabaseLackOfRetention", OVERLOADED)
    if feed.source is not None:
        wait_s = limits.live_within_s if options.wait_s is None else options.wait_s
        with trio.move_on_after(min(wait_s, limits.wait_at_most_s)):
            while True:
                await feed.state.wait_live()
                with suppress(Unavailable):
                    if options.wait_s is not None:
                        await _refuse_if_denied(options.changes, identity, tenant)
                    return await feed.source.insert_position()
                await trio.sleep(ASK_AGAIN_S)
    if options.wait_s is not None:
        raise Refused(UNABLE, feed.state.advice)
    return None


async def _refuse_if_denied(
    changes: Sequence[ChangeBinding], identity: Identity, tenant: Tenant
) -> None:
    """Refuse a join whose entries Postgres does not accept; who does not wait is told later, and stays joined.

    Raises:
        Refused: with the text that others are told.
        Unavailable: the database could not be asked.
    """
    (outcome,) = await resolve(
        [Applicant(identity.role, tuple(changes), waits=True)], tenant.feed
    )
    if isinstance(outcome, Denied):
        raise Refused(UNABLE, outcome.fault)


async def attach(
    key: ChannelKey,
    subscription: Subscription,
    greeting: bytes,
    gate: ReplayGate | None,
    tenant: Tenant,
) -> tuple[Ref[ChannelMessage], TopicPresence]:
    """Enter the subscription in its channel's roster; return the channel, and the tables of its presence.

    Raises:
        Refused: the channel did not answer in time, or failed again and again.
    """
    for _ in range(ATTEMPTS):
        channel = tenant.channels.get_or_start(key)
        try:
            presence: TopicPresence = await channel.ask_at_once(
                lambda attached: Attach(subscription, greeting, attached, gate),
                within=tenant.limits.attach_within_s,
            )
        except (ActorStopped, ActorCrashed):
            # It retired before the question came, or crashed while it held it: attaching again is safe.
            continue
        except AskTimeout:
            # It may have been entered in this very moment, and nobody would own it.
            channel.tell(Detach(subscription, b""))
            break
        except trio.Cancelled:
            # It may have been started for this join alone: let it see that nobody came, and retire.
            channel.tell(Detach(subscription, b""))
            raise
        else:
            return channel, presence
    raise Refused("UnknownErrorOnChannel", TOO_BUSY)


async def refresh(
    channel: Ref[ChannelMessage], subscription: Subscription, tenant: Tenant
) -> None:
    """Let the channel know a subscription by its new identity.

    A channel that is gone is none of our business: the connection is told of that.

    Raises:
        Refused: the channel did not answer in time, or failed again and again; it may know either identity.
    """
    for _ in range(ATTEMPTS):
        try:
            await channel.ask(
                lambda refreshed: Refresh(subscription, refreshed),
                within=tenant.limits.attach_within_s,
            )
        except ActorCrashed:
            continue
        except ActorStopped:
            return
        except AskTimeout:
            break
        else:
            return
    raise Refused("UnknownErrorOnChannel", TOO_BUSY)


def channel_key(join: Join, tenant: Tenant) -> ChannelKey:
    """Return which channel a join is for: private and public ones of one name are different."""
    return ChannelKey(tenant.name, join.options.private, join.sub_topic)
