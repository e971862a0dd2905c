"""The tenant: keys, limits and channels that belong together; one by default."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from actors.realtime.alarm import Alarms
from actors.realtime.managed_channels import ManagedChannels
from actors.realtime.open_connections import OpenConnections
from actors.realtime.permissions import ServiceRoleOnly
from actors.realtime.persisting import NoStorage
from actors.realtime.quota import Quota
from actors.realtime.replaying import NoReplay
from actors.realtime.reserved import GuardedPolicies

if TYPE_CHECKING:
    from actors.realtime.change_feed import ChangeFeed
    from actors.realtime.channels import Channels
    from actors.realtime.ports import Policies, TokenVerifier
    from actors.realtime.stored_ports import BroadcastStorage, ReplayStore


#: What a payload may be larger than its limit, for the envelope around it (as upstream).
ENVELOPE_BYTES = 500


def payload_bytes(size_kb: int) -> int:
    """Return the bytes that a payload may have under a limit in kilobytes of 1000 (spec 8)."""
    return size_kb * 1000 + ENVELOPE_BYTES


@frozen
class Limits:
    """Bounds on what one client may do; these are always on.

    `payload_bytes`: the largest payload of a broadcast or a track (upstream: 3000 kB and 500 bytes on top).
    `park_s`: seconds a publisher is not read because its channel is full, before its broadcast is refused.
    `join_error_delay_s`: seconds before a refused join is answered, for clients that retry at once.
    `live_within_s`: seconds a join that wants row changes waits for a live stream before it is answered without one.
    `wait_at_most_s`: seconds a client may ask such a join to wait at the most.
    `replication_within_s`: seconds a client waits that wants to know when the database's changes stream in.
    `no_channel_timeout_s`: seconds a connection may have no channel before it is closed.
    `attach_within_s`: seconds a channel may take to accept a subscription.
    `verify_again_s`: seconds after which a token that is in use is verified again, if it does not expire before.
    `tracked_bytes_per_topic`: presence payloads and keys of one topic together, for whoever joins is sent them all.
    `tracked_bytes_per_connection`: those of one client, in however many topics.
    `connections_per_user`: connections of one user (the `sub` of their tokens) at a time, 0 for any number.
    """

    payload_bytes: int = 3_000_500
    park_s: float = 5.0
    join_error_delay_s: float = 5.0
    live_within_s: float = 2.0
    wait_at_most_s: float = 60.0
    replication_within_s: float = 60.0
    no_channel_timeout_s: float = 600.0
    attach_within_s: float = 5.0
    verify_again_s: float = 300.0
    tracked_bytes_per_topic: int = 8 * 1024 * 1024
    tracked_bytes_per_connection: int = 4 * 1024 * 1024
    connections_per_user: int = 0


@define
class TenantStatus:
    """What the operator has decided about the tenant, and what is true until it is decided otherwise.

    `is_suspended`: nobody may connect or join.
    `is_private_only`: nobody may join a public channel.
    `is_presence_enabled`: every join has presence, whether it asked for it or not.
    `is_restarting`: the node is about to stop, so nobody may join any more.
    `takes_broadcasts`, `takes_presence`: clients may broadcast, and be present.
    """

    is_suspended: bool = False
    is_private_only: bool = False
    is_presence_enabled: bool = False
    is_restarting: bool = False
    takes_broadcasts: bool = True
    takes_presence: bool = True


@frozen(eq=False)
class Tenant:
    """What a connection needs to know of the tenant it belongs to."""

    name: str
    verifier: TokenVerifier
    channels: Channels
    feed: ChangeFeed
    limits: Limits = field(factory=Limits)
    quota: Quota = field(factory=Quota)
    status: TenantStatus = field(factory=TenantStatus)
    policies: Policies = field(factory=ServiceRoleOnly, converter=GuardedPolicies)
    replays: ReplayStore = field(factory=NoReplay)
    storage: BroadcastStorage = field(factory=NoStorage)
    #: For what has to be unique, not secret.
    random: Random = field(factory=Random)
    managed: ManagedChannels = field(factory=ManagedChannels)
    open_connections: OpenConnections = field(factory=OpenConnections)
    alarms: Alarms = field(factory=Alarms)
