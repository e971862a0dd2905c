"""Whether a tenant has room for a client: at the door, and at each join before anybody asks who joins.

Called by `connections.py` for the web floor and by `joins.py`; what depends on the token is in `join.py`.

**Source**: spec 1.2 and 2.2 for the order of the checks, 1.2 and 2.3 for the literal texts.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from actors.realtime.errors import Forbidden, RateLimited, Refused, Suspended, TooManyJoins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.realtime.tenant import Tenant
    from protocol.commands import Join

TOO_MANY_USERS = "Too many connected users"
TOO_MANY_JOINS = "Too many joins per second"
TOO_MANY_OF_USER = "UserConnectionLimitReached"
TOO_MANY_CONNECTIONS = "Too many connections of this user"


def refuse_if_suspended(tenant: Tenant) -> None:
    """Let nobody in while the tenant is switched off.

    Raises:
        Suspended: it is.
    """
    if tenant.status.is_suspended:
        raise Suspended("RealtimeDisabledForTenant", "Realtime was disabled for this tenant")


def refuse_if_full(tenant: Tenant) -> None:
    """Let nobody in who could not join anything.

    Raises:
        RateLimited: all users are there already, or joins come too fast.
    """
    if tenant.quota.is_full:
        raise RateLimited("ConnectionRateLimitReached", TOO_MANY_USERS)
    if tenant.quota.joins.is_tripped:
        raise RateLimited("JoinsRateLimitReached", TOO_MANY_JOINS)


def refuse_one_more(user: str, tenant: Tenant) -> None:
    """Let no user in who has as many connections as allowed.

    Raises:
        RateLimited: this one has.
    """
    most = tenant.limits.connections_per_user
    if 0 < most <= tenant.open_connections.of_user(user):
        raise RateLimited(TOO_MANY_OF_USER, TOO_MANY_CONNECTIONS)


@contextmanager
def admitted(join: Join, connection: str, channels: int, tenant: Tenant) -> Iterator[None]:
    """Check what does not depend on who joins, and hold the connection's place as a user while the join goes on.

    `channels` is the number of other topics that the connection has joined or is joining.
    Each call that comes as far is counted as an attempt, whatever becomes of it.

    Raises:
        Refused: on entry, with the literal code and reason of spec 2.3.
    """
    quota = tenant.quota
    _refuse_if_closed(join, tenant)
    most = tenant.limits.connections_per_user
    if most and not tenant.open_connections.is_among_first(connection, most):
        raise RateLimited(TOO_MANY_OF_USER, TOO_MANY_CONNECTIONS)
    if not quota.users.begin_join(connection, quota.limits.max_concurrent_users):
        raise RateLimited("ConnectionRateLimitReached", TOO_MANY_USERS)
    joined = False
    try:
        if join.options.is_shared:
            # One request makes them for all members of a channel: no client joins too often by that.
            yield
            joined = True
            return
        quota.joins.count()
        if quota.joins.is_tripped:
            raise TooManyJoins("ClientJoinRateLimitReached", TOO_MANY_JOINS)
        if 0 < quota.limits.max_channels_per_client <= channels:
            raise RateLimited("ChannelRateLimitReached", "Too many channels")
        yield
        joined = True
    finally:
        quota.users.end_join(connection, joined=joined)


def _refuse_if_closed(join: Join, tenant: Tenant) -> None:
    status = tenant.status
    if join.fault is not None:
        raise Refused(join.fault.code, join.fault.reason)
    if status.is_restarting:
        raise Refused("RealtimeRestarting", "Realtime is restarting, please standby")
    if status.is_suspended:
        raise Suspended("RealtimeDisabledForTenant", "Realtime disabled for this tenant")
    if status.is_private_only and not join.options.private:
        raise Forbidden("PrivateOnly", "This project only allows private channels")
