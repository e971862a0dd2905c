"""What a `phx_join` asks for, read leniently, and the response that grants it.

Called by `session`; `join_response` by `render` once the join is accepted.
An invalid part never refuses a join: it takes its default and is named in a warning.
Refused is only what is no object at all, a `config` that is none, or what is larger than any honest join.

**Source**: spec 2.1 (payload and texts of warnings), 2.4 (response), 6.1 (entries).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from protocol import jsontext
from protocol.commands import JoinOptions, ReplayRequest
from protocol.errors import MalformedFrame, ProtocolError
from protocol.phoenix.bindings import bind, bind_topic, split_entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.commands import ChangeBinding

# A binding is at most a few KiB (an `in` filter has at most 100 elements), a token about one.
# Upstream's only bound is the frame's 5 MB, times the number of channels.
PAYLOAD_LIMIT_BYTES: Final = 256 * 1024

# A page of an application listens to a handful of tables; supabase-js de-duplicates its bindings.
BINDINGS_LIMIT: Final = 256

LONGEST_MS: Final = 1e12
WAIT_DEFAULT_MS: Final = 15_000

# Upstream's schema says 10, its code 25; more than that is never replayed.
REPLAY_LIMIT: Final = 25
# The last millisecond of the year 9999, beyond which neither PostgreSQL's nor our own dates go gladly.
_LATEST_MS: Final = 253_402_300_799_999

_NULL: Final = b"null"


class InvalidJoin(ProtocolError):
    """The join cannot be understood: it is answered with an error, nothing is joined."""

    code = "UnknownErrorOnChannel"


@frozen
class ParsedJoin:
    """The options with defaults filled in, and one warning per part that was invalid."""

    options: JoinOptions
    warnings: tuple[str, ...]


def parse_join(payload: bytes, sub_topic: str) -> ParsedJoin:
    """Return what the payload of a `phx_join` asks for.

    Without a `config` the topic itself is the subscription: `schema[:table[:filter]]`.

    Raises:
        InvalidJoin: no object or no object as `config`, over the size limit, or too many bindings.
    """
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        raise InvalidJoin("the join payload is too large")
    try:
        root = _Part("", jsontext.members(payload))
    except MalformedFrame:
        raise InvalidJoin("the join payload must be an object") from None
    given = root.members.get("config", _NULL)
    if given != _NULL and not given.startswith(b"{"):
        raise InvalidJoin("the config of a join must be an object")
    config = root.part("config")
    broadcast = config.part("broadcast")
    presence = config.part("presence")
    key = presence.scalar_text("key")
    options = JoinOptions(
        ack=broadcast.boolean("ack"),
        echo=broadcast.boolean("self"),
        replication_ready=broadcast.boolean("replication_ready"),
        replay=_replay(broadcast),
        private=config.boolean("private"),
        # A key alone asks for presence too: no client means anything else by it.
        presence_enabled=presence.boolean("enabled", default=bool(key)),
        presence_key=key,
        changes=_bindings(config) if "config" in root.members else bind_topic(sub_topic),
        wait_s=_wait(config),
        access_token=root.string("access_token"),
        user_token=root.string("user_token"),
    )
    return ParsedJoin(options, tuple(root.warnings))


def _wait(config: _Part) -> float | None:
    """Return how long the client wants to wait for row changes, None if it does not want to.

    **Source**: `postgres_changes_options` of realtime-js 2.119: `{wait: true, timeout: <ms>}`, 15 s by default.
    """
    options = config.part("postgres_changes_options")
    if not options.boolean("wait"):
        return None
    return options.milliseconds("timeout", default=WAIT_DEFAULT_MS) / 1000


def _replay(broadcast: _Part) -> ReplayRequest | None:
    """Return which stored broadcasts are wanted; what is no number is kept as such, for it is refused later.

    **Source**: spec 4.5.
    """
    replay = broadcast.part("replay")
    if not broadcast.members.get("replay", b"").startswith(b"{"):
        return None
    since_ms = replay.integer("since")
    limit = replay.integer("limit", default=REPLAY_LIMIT)
    return ReplayRequest(
        since_ms if since_ms is not None and 0 <= since_ms <= _LATEST_MS else None,
        None if limit is None else max(1, min(limit, REPLAY_LIMIT)),
    )


def _bindings(config: _Part) -> tuple[ChangeBinding, ...]:
    try:
        entries = split_entries(config.members.get("postgres_changes", _NULL))
    except MalformedFrame:
        config.warn("postgres_changes", "expected an array of maps")
        return ()
    if len(entries) > BINDINGS_LIMIT:
        raise InvalidJoin(f"more than {BINDINGS_LIMIT} postgres_changes entries")
    return bind(entries)


def join_response(changes: Sequence[ChangeBinding]) -> bytes:
    """Return the `response` that grants a join: every entry as it was sent, in order, with its `id`.

    An entry that came with an `id` of its own has the key twice; JSON readers take the last, which is ours.
    """
    entries = []
    for binding in changes:
        head = binding.entry[:-1].rstrip()
        comma = b"" if head == b"{" else b","
        entries.append(b'%b%b"id":%d}' % (head, comma, binding.id))
    return b'{"postgres_changes":[' + b",".join(entries) + b"]}"


@define
class _Part:
    """One object of the payload; missing, null and invalid members read as their defaults."""

    path: str
    members: dict[str, bytes]
    warnings: list[str] = field(factory=list[str])

    def warn(self, key: str, expected: str = "") -> None:
        text = f"unable to parse, {expected}" if expected else "unable to parse"
        self.warnings.append(f"{self.path}{key}: {text}")

    def part(self, key: str) -> _Part:
        members: dict[str, bytes] = {}
        raw = self._present(key)
        if raw is not None:
            try:
                members = jsontext.members(raw)
            except MalformedFrame:
                self.warn(key, "expected a map")
        return _Part(f"{self.path}{key}.", members, self.warnings)

    def boolean(self, key: str, *, default: bool = False) -> bool:
        raw = self._present(key)
        if raw is None:
            return default
        word = str(jsontext.scalar(raw)) if raw[:1] == b'"' else raw.decode()
        if word.lower() not in ("true", "false"):
            self.warn(key, "expected boolean")
        return word.lower() == "true"

    def integer(self, key: str, *, default: int | None = None) -> int | None:
        """Return an integer, the default of one that is missing, and None for anything else."""
        raw = self._present(key)
        if raw is None:
            return default
        try:
            value = jsontext.scalar(raw)
        except MalformedFrame:
            value = None
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.warn(key)
        return None

    def string(self, key: str) -> str | None:
        raw = self._present(key)
        if raw is None:
            return None
        if raw[:1] != b'"':
            self.warn(key)
            return None
        return str(jsontext.scalar(raw))

    def milliseconds(self, key: str, *, default: float) -> float:
        """Return a duration; a negative one, or what is no number, is invalid."""
        text = self._present(key)
        if text is None:
            return default
        try:
            value = jsontext.scalar(text)
        except MalformedFrame:
            value = None
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            # A whole number can be larger than any duration, and than what can be calculated with.
            return min(value, LONGEST_MS)
        self.warn(key)
        return default

    def scalar_text(self, key: str) -> str:
        raw = self._present(key)
        if raw is None:
            return ""
        if raw[:1] in (b"{", b"["):
            self.warn(key, "expected string|integer")
            return ""
        return str(jsontext.scalar(raw)) if raw[:1] == b'"' else raw.decode()

    def _present(self, key: str) -> bytes | None:
        raw = self.members.get(key)
        return None if raw is None or raw == _NULL else raw
