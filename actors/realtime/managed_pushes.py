"""What a member may say in a managed channel, and what the operator switched off for everybody.

Called by the connection for every broadcast and track, before anything else is done with it:
where nobody manages a channel this is one look into a table. For broadcasts over HTTP the `Poster` calls it.

**Source**: ledger GF-088, GF-099, GF-108, GF-111, GF-118, C31, C38.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from protocol import jsontext
from protocol.commands import Broadcast, PresenceAction, PresencePush
from protocol.errors import MalformedFrame
from protocol.events import PushRefused, Reply, TextBroadcast
from protocol.managed import Permission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.realtime.managed_channels import ManagedChannel
    from actors.realtime.membership import Membership
    from actors.realtime.ports import Identity
    from actors.realtime.seat import Seat
    from actors.realtime.tenant import Tenant
    from actors.telemetry.metrics import DropReason, Metrics, PresenceFault
    from protocol.commands import PostedBroadcast
    from protocol.events import UserBroadcast

#: Seconds after which a message is within the rate again.
RETRY_AFTER_S = 1
#: How refusals are counted.
DROPPED: Final[Mapping[str, DropReason]] = {
    "feature_disabled": "denied",
    "permission_denied": "denied",
    "payload_size_exceeded": "payload_size_exceeded",
    "rate_limit_exceeded": "rate_limited",
}
_NOT_SHOWN: Final[Mapping[str, PresenceFault]] = {
    "feature_disabled": "denied",
    "permission_denied": "denied",
    "payload_size_exceeded": "too_large",
    "rate_limit_exceeded": "rate",
}


def refusal_of(
    command: Broadcast | PresencePush, membership: Membership, tenant: Tenant
) -> PushRefused | None:
    """Return why a push is not carried out, None if it may be; counts it."""
    if isinstance(command, PresencePush) and command.action is not PresenceAction.TRACK:
        return None
    fault = switched_off(tenant, is_presence=isinstance(command, PresencePush))
    channel = _binding(membership, tenant)
    if fault is None and channel is not None:
        size_bytes = _size_bytes(command, channel)
        fault = fault_of(channel, membership.identity, size_bytes, membership.key.connection)
    return None if fault is None else evolve(fault, ref=command.ref, join_ref=command.join_ref)


def is_free(command: Broadcast, membership: Membership, tenant: Tenant) -> bool:
    """Whether a broadcast may be carried out without being counted; changes nothing, so it may be asked again."""
    if not tenant.status.takes_broadcasts:
        return False
    # This is asked for every message, so not by way of `_binding`.
    _, is_private, sub_topic = membership.channel_key
    if is_private:
        return True
    is_managed = membership.subscription.is_managed
    channel = tenant.managed.binding(sub_topic, is_managed=is_managed)
    if channel is None:
        return True
    if channel.config.rate_limit is not None:
        return False
    return fault_of(channel, membership.identity, _size_bytes(command, channel)) is None


def _binding(membership: Membership, tenant: Tenant) -> ManagedChannel | None:
    _, is_private, sub_topic = membership.channel_key
    if is_private:
        return None
    return tenant.managed.binding(sub_topic, is_managed=membership.subscription.is_managed)


def refuse(
    refused: PushRefused,
    command: Broadcast | PresencePush,
    membership: Membership,
    seat: Seat,
    metrics: Metrics,
) -> None:
    """Tell a client that its push was not carried out, in an answer too if it waits for one; never waits."""
    is_broadcast = isinstance(command, Broadcast)
    if is_broadcast:
        metrics.broadcasts_dropped[DROPPED[refused.code]].inc()
        response = jsontext.write(refused.code)
    else:
        metrics.presence_refused[_NOT_SHOWN[refused.code]].inc()
        response = jsontext.write({"reason": refused.reason, "code": refused.code})
    seat.push(refused, command.topic)
    if membership.ack or not is_broadcast:
        reply = Reply(command.ref, command.join_ref, ok=False, response=response)
        seat.push(reply, command.topic)


def switched_off(tenant: Tenant, *, is_presence: bool) -> PushRefused | None:
    """Return that the operator does not want it, if that is so."""
    status = tenant.status
    if status.takes_presence if is_presence else status.takes_broadcasts:
        return None
    what = "presence" if is_presence else "broadcast"
    return PushRefused(None, None, code="feature_disabled", reason=what)


def fault_of(
    channel: ManagedChannel, identity: Identity, size_bytes: int, connection: str = ""
) -> PushRefused | None:
    """Return why a message of so many bytes is not taken from somebody, None if it is; counts it.

    Who has no user id is counted by connection.
    """
    if not channel.allows(identity, Permission.WRITE):
        return PushRefused(
            None,
            None,
            code="permission_denied",
            reason="You do not have permission to write to this channel",
            required_permission=Permission.WRITE.value,
        )
    most = channel.config.max_message_bytes
    if most is not None and size_bytes > most:
        reason = f"A message has at most {most} bytes in this channel"
        return PushRefused(None, None, code="payload_size_exceeded", reason=reason)
    if not channel.count(identity.user_id or connection):
        return PushRefused(
            None,
            None,
            code="rate_limit_exceeded",
            reason="Too many messages per second in this channel",
            retry_after_s=RETRY_AFTER_S,
        )
    return None


def refusal_of_posted(
    broadcast: PostedBroadcast, identity: Identity, peer: str, tenant: Tenant
) -> PushRefused | None:
    """Return why a broadcast from outside a connection is not taken, None if it is; counts it.

    Who has no user id is counted by `peer`, the address that the request came from.
    """
    fault = switched_off(tenant, is_presence=False)
    if fault is not None or broadcast.private:
        return fault
    channel = tenant.managed.binding(broadcast.sub_topic, is_managed=False)
    if channel is None:
        return None
    return fault_of(channel, identity, _message_bytes(broadcast.message, channel), peer)


def _size_bytes(command: Broadcast | PresencePush, channel: ManagedChannel) -> int:
    if isinstance(command, PresencePush):
        return len(command.payload or b"")
    return _message_bytes(command.message, channel)


def _message_bytes(message: TextBroadcast | UserBroadcast, channel: ManagedChannel) -> int:
    """Return the size of a payload, 0 where the channel bounds none."""
    return 0 if channel.config.max_message_bytes is None else len(_payload_of(message))


def _payload_of(message: TextBroadcast | UserBroadcast) -> bytes:
    """Return the payload inside a broadcast, without the envelope that a text broadcast has around it."""
    if not isinstance(message, TextBroadcast):
        return message.payload
    try:
        return jsontext.members(message.payload).get("payload", message.payload)
    except MalformedFrame:
        return message.payload
