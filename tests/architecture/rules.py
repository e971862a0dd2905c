"""The tables that the checks of this folder enforce; a change here is a change of the architecture.

The reasons are in `docs/explanation/architecture.md`.
"""

from __future__ import annotations

# A room may import itself and rooms on lower floors.
FLOORS = {
    "protocol": 0,
    "actors.core": 1,
    "actors.telemetry": 1,
    "actors.realtime": 2,
    "actors.auth": 3,
    "actors.cluster": 3,
    "actors.db": 3,
    "actors.web": 4,
    "actors.channel_management": 5,
    "actors.channel_settings": 5,
    "actors.key_settings": 5,
    "actors.database": 5,
    "actors.dialects": 5,
    "actors.node": 5,
    "actors.observer": 5,
    "actors.setting_values": 5,
    "actors.settings": 5,
    "actors.site": 5,
    "actors.supervision": 5,
    "actors.settings_loading": 5,
    "actors.tenant_settings": 5,
    "actors.commands": 6,
    "actors.command_line": 6,
    "actors.main": 6,
    "actors.serve": 6,
    "actors.welcome": 6,
}
# Elsewhere the rooms of one floor do not know each other.
FLOORS_WITH_NEIGHBOURS = {5, 6}
# Nothing of ours, not even from the floor below: they could be taken out and used elsewhere.
SELF_CONTAINED = {"actors.core", "actors.telemetry"}

# Dialects never import one another.
DIALECTS = ("protocol.phoenix", "protocol.goforward", "protocol.fluxbase")

# Floor 0 decides from its input alone: no clock, no luck, no surroundings.
FLOOR_0_LIBRARIES = {"attrs", "msgspec"}
FLOOR_0_FORBIDDEN = {
    "asyncio",
    "concurrent",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "uuid",
}

# A library with a large surface is seen by few files, so that replacing it stays possible.
# A name that ends in a slash is a folder.
HEAVY_NEIGHBOURS = {
    "asyncio": ("actors/db/driver.py",),
    "coredis": ("actors/cluster/redis.py",),
    "h11": ("actors/web/http1.py",),
    "cryptography": ("actors/auth/keys.py",),
    "httpx": ("actors/auth/fetch.py", "actors/commands/proxy.py"),
    "jwt": ("actors/auth/keys.py", "actors/auth/tokens.py"),
    "prometheus_client": ("actors/telemetry/metrics.py",),
    # The whole floor composes SQL and reads SQLSTATEs; how psycopg waits is driver.py's alone.
    "psycopg": ("actors/db/",),
    "starlette": ("actors/web/",),
    "trio_websocket": ("actors/web/handshake.py",),
    "wsproto": ("actors/web/handshake.py", "actors/web/rare_frames.py"),
}

WARN_FILE_LINES = 300
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 50

# Waiting is allowed downhill only. Rank 1 is for resources that are awaited but are no actors.
RANKS = {
    "connection": 3,
    "listener": 3,
    "http": 3,
    "channel": 2,
    "rows": 2,
    "relay": 2,
    "presence": 2,
    "resource": 1,
}
# Every `await ….send(Message(…))` and `await ….ask(…)` on a ref: who waits for whom.
# The key is the file and the message's class, or the name of the variable that holds the message.
WAITS = {
    ("actors/realtime/membership.py", "Detach"): ("connection", "channel"),
    ("actors/realtime/publisher.py", "message"): ("connection", "channel"),
    ("actors/realtime/posting.py", "message"): ("http", "channel"),
    ("actors/realtime/channel_admin.py", "EndSubscriptions"): ("http", "channel"),
    ("actors/realtime/managed_joins.py", "EndSubscriptions"): ("connection", "channel"),
    ("actors/realtime/join.py", "Attach"): ("connection", "channel"),
    ("actors/realtime/join.py", "Refresh"): ("connection", "channel"),
    ("actors/auth/rotation.py", "Renew"): ("connection", "resource"),
    # Not a ref: bytes to the replication connection, which only its stream writes to.
    ("actors/db/replication_stream.py", "status"): ("listener", "resource"),
}
