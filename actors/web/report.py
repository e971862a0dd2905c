"""What the dashboard is told every second: a snapshot of the tenant and the supervision tree, as one JSON object.

Called by the reporter (`actors.realtime.reporter`); read by `dashboard/dashboard.js`, which knows these names.
The report stays small whatever clients are called and however many there are: it must fit into an outbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.realtime.snapshot import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.realtime.snapshot import ChannelSnapshot, ConnectionSnapshot, Snapshot

BOUNDS: Final = Bounds(channels=200, connections=200, changes=200, members=20)
SIZE_LIMIT_BYTES: Final = 256 * 1024
#: Characters of one name; what is longer is cut.
NAME_LIMIT: Final = 200


def render_report(
    take: Callable[[Bounds], Snapshot], describe_tree: Callable[[int], Mapping[str, Any]]
) -> bytes:
    """Return the report; `describe_tree` lists so many actors of each supervisor. Never waits."""
    bounds = BOUNDS
    while True:
        snapshot = take(bounds)
        tree = describe_tree(bounds.channels)
        data = msgspec.json.encode(_clipped({**describe(snapshot), "tree": tree}))
        if len(data) <= SIZE_LIMIT_BYTES or not bounds.channels:
            return data
        bounds = bounds.half


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot; JSON values only, times in seconds since 1970-01-01 UTC."""
    return {
        "at": snapshot.taken_at,
        "totals": msgspec.to_builtins(snapshot.totals),
        "channels": [_channel(channel) for channel in snapshot.channels],
        "connections": [_connection(connection) for connection in snapshot.connections],
        "changes": [msgspec.to_builtins(entry) for entry in snapshot.changes],
    }


def _channel(channel: ChannelSnapshot) -> dict[str, Any]:
    return {
        "name": channel.name,
        "private": channel.is_private,
        "subscribers": channel.subscriber_count,
        "presences": channel.presence_count,
        "users": channel.users,
        # Payloads are the application's; under which keys is enough to see who is there.
        "present": list(dict.fromkeys(presence.key for presence in channel.presences)),
    }


def _connection(connection: ConnectionSnapshot) -> dict[str, Any]:
    return {
        "id": connection.id,
        "user": connection.user,
        "role": connection.role,
        "peer": connection.peer,
        "opened_at": connection.opened_at,
        "topics": connection.topics,
    }


def _clipped(value: Any) -> Any:
    match value:
        case str():
            return value if len(value) <= NAME_LIMIT else value[:NAME_LIMIT] + "…"
        case dict():
            return {name: _clipped(member) for name, member in value.items()}
        case list() | tuple():
            return [_clipped(element) for element in value]
        case _:
            return value
