"""Those who say over HTTP that they are present: on their sockets if they have any, else for a while without.

Called by `actors.web.goforward_presence`, by the joins of managed channels and by `channel_keeper.py`.
A visitor has a track in the topic's table, as long as the channel lives, so members hear of it as of anybody;
the keeper answers for it, as connections do for theirs.

**Invariants**
- Who has a socket in the channel is no visitor.
- Visitors of a channel are bounded in number, in bytes and in time, and in bytes all of them together.

**Source**: ledger GF-047…050, GF-087.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.realtime.errors import RateLimited
from actors.realtime.managed_channels import ManagedChannel, Visitor
from actors.realtime.messages import ChannelKey, JoinKey, StateSet
from actors.realtime.tracks import Track
from protocol import jsontext
from protocol.presence.meta import REF_BYTES, Meta, ref_from

if TYPE_CHECKING:
    from actors.realtime.tenant import Tenant
    from actors.realtime.topic_presence import TopicPresence


def set_state(channel: ManagedChannel, user: str, state: bytes, tenant: Tenant) -> None:
    """Let a user be present in a channel with a state, a JSON object; never waits.

    Raises:
        RateLimited: there is no room for one more without a socket.
    """
    key = ChannelKey(tenant.name, is_private=False, sub_topic=channel.name)
    channel.used_at = now = trio.current_time()
    joins = [one for one in tenant.channels.roster(key) or () if one.identity.user_id == user]
    for one in joins:
        one.connection.tell(StateSet(one.encode_key.topic, one.key.number, state))
    if joins or _is_offline(state):
        forget(channel, user, tenant)
        return
    meta = Meta(user, state, ref_from(tenant.random.randbytes(REF_BYTES)))
    visitor = Visitor(meta, now, now + tenant.managed.rules.presence_ttl_s)
    _enter(channel, user, visitor, tenant)
    show(channel, tenant)


def show(channel: ManagedChannel, tenant: Tenant) -> None:
    """Let the members of a channel see its visitors; of those who have come by socket since it takes leave."""
    key = ChannelKey(tenant.name, is_private=False, sub_topic=channel.name)
    tables, keeper = tenant.channels.tables(key), tenant.managed.keeper
    if not channel.visitors or tables is None:
        return
    roster, topic = tables
    users = {one.identity.user_id for one in roster}
    for user in channel.visitors.keys() & users:
        forget(channel, user, tenant)
    if keeper is None:
        return
    for user, visitor in channel.visitors.items():
        join = _join(user)
        shown = topic.tracks.get(join)
        if shown is None or shown.meta is not visitor.meta:
            topic.tracks.write(join, Track(visitor.meta, keeper, visitor.seen_at))
    tenant.channels.presence_actors.wake(topic)


def show_in(key: ChannelKey, tenant: Tenant) -> None:
    """Let somebody who has just come into a channel see the visitors of it."""
    channel = None if key.is_private else tenant.managed.get(key.sub_topic)
    if channel is not None:
        show(channel, tenant)


def forget(channel: ManagedChannel, user: str, tenant: Tenant) -> None:
    """Let a visitor be absent, if there is one."""
    visitor = channel.visitors.pop(user, None)
    if visitor is None:
        return
    tenant.managed.visitors_bytes -= visitor.size_bytes
    key = ChannelKey(tenant.name, is_private=False, sub_topic=channel.name)
    tables = tenant.channels.tables(key)
    if tables is not None:
        _hide(tables[1], user, tenant)


def forget_all(channel: ManagedChannel, tenant: Tenant) -> None:
    """Let all visitors be absent: the channel is no more."""
    for user in tuple(channel.visitors):
        forget(channel, user, tenant)


def expire(channel: ManagedChannel, tenant: Tenant) -> None:
    """Let the visitors be absent whose time is over."""
    now = trio.current_time()
    for user in [user for user, one in channel.visitors.items() if one.until <= now]:
        forget(channel, user, tenant)


def _enter(channel: ManagedChannel, user: str, visitor: Visitor, tenant: Tenant) -> None:
    managed, earlier = tenant.managed, channel.visitors.get(user)
    rules, most_bytes = managed.rules, tenant.limits.tracked_bytes_per_topic
    growth = visitor.size_bytes - (0 if earlier is None else earlier.size_bytes)
    held = sum(one.size_bytes for one in channel.visitors.values())
    if (
        (earlier is None and len(channel.visitors) >= rules.max_visitors)
        or held + growth > most_bytes
        or managed.visitors_bytes + growth > rules.visitors_bytes
    ):
        raise RateLimited("ChannelRateLimitReached", "Too many are present without a socket")
    channel.visitors[user] = visitor
    managed.visitors_bytes += growth


def _hide(topic: TopicPresence, user: str, tenant: Tenant) -> None:
    if topic.tracks.remove(_join(user)) is not None:
        tenant.channels.presence_actors.wake(topic)


def _join(user: str) -> JoinKey:
    """Return the join of a visitor; connections are not called so."""
    return JoinKey(f"visitor:{user}", 0)


def _is_offline(state: bytes) -> bool:
    return jsontext.members(state).get("status") == b'"offline"'
