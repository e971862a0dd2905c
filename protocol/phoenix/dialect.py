"""The Phoenix dialect as the actors see it: two versions, one session, one encoder.

The web floor negotiates a version at the handshake; `session` reads, `render` with `v1`, `v2` and `binary` writes.

**Source**: spec 1.1 (`vsn`) and 1.4 (what a broadcast becomes for which version).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from protocol.errors import ProtocolError
from protocol.events import Replaced, ReplayedBroadcast, Reply, UserBroadcast
from protocol.frames import Frame, Opcode
from protocol.phoenix import binary, v1, v2
from protocol.phoenix.render import render
from protocol.phoenix.session import PhoenixSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.events import Event
    from protocol.frames import CloseCode

Version = Literal["1.0.0", "2.0.0"]

# `~> 1.0.0` and `~> 2.0.0`: any patch release of these two.
_SUPPORTED: Final = re.compile(r"([12])\.0\.(?:0|[1-9][0-9]*)")


#: What a version or another can say differently, or not at all.
_BY_VERSION: Final = (UserBroadcast, ReplayedBroadcast, Replaced)


class UnsupportedVersion(ProtocolError):
    """The `vsn` of the handshake is no version we speak: it is answered 403 with an empty body."""

    code = "UnsupportedVersion"
    ends_connection = True


@frozen
class PhoenixDialect:
    """Phoenix Channels as Supabase Realtime speaks them.

    `binary` is whether the client reads binary frames, if its version has them.
    """

    version: Version
    binary: bool = True

    @property
    def name(self) -> str:
        return "phoenix"

    @property
    def heartbeat(self) -> None:
        """Nothing: here the client sends heartbeats."""
        return

    def session(self, user_id: str = "") -> PhoenixSession:  # noqa: ARG002  # no matter in this dialect
        """Return a fresh state machine for a new connection."""
        return PhoenixSession(v1.decode if self.version == "1.0.0" else v2.decode)

    def ends_with(self, event: Event) -> CloseCode | None:  # noqa: ARG002  # none of them
        """Return None: clients join again on the socket that they have."""
        return None

    def encode(self, event: Event, topic: str, sender: str = "") -> Sequence[Frame]:  # noqa: ARG002
        """Return the frame for `event` on `topic`, or nothing if this version cannot carry it; nobody is named."""
        frame = self.frame(event, topic)
        return () if frame is None else (frame,)

    def frame(self, event: Event, topic: str) -> Frame | None:
        """Return the frame for `event` on `topic`, or None if this version cannot carry it.

        A broadcast of bytes is for 2.0.0 with binary frames only, and only if topic and event have at most 255 bytes
        each; a JSON one that cannot be binary goes out as text, which every client reads as well.
        """
        # First what there is most of.
        if not isinstance(event, Reply) and isinstance(event, _BY_VERSION):
            return self._frame_by_version(event, topic)
        return self._text(event, topic)

    def _frame_by_version(
        self, event: UserBroadcast | ReplayedBroadcast | Replaced, topic: str
    ) -> Frame | None:
        if isinstance(event, ReplayedBroadcast) and event.message.is_binary:
            # Source: spec 1.4, a replay is text with its join_ref, but for bytes, which have no place in text.
            event = event.message
        if isinstance(event, UserBroadcast):
            if self.version == "2.0.0" and self.binary:
                payload = binary.encode_user_broadcast(topic, event)
                if payload is not None:
                    return Frame(Opcode.BINARY, payload)
            if event.is_binary:
                return None
        if isinstance(event, Replaced) and self.version == "1.0.0":
            # A 1.0.0 client cannot tell which of its joins a phx_close is for, and realtime-py ends the newer one.
            return None
        return self._text(event, topic)

    def _text(self, event: Event, topic: str) -> Frame | None:
        message = render(event, topic)
        if message is None:
            return None
        text = v1.encode(message) if self.version == "1.0.0" else v2.encode(message)
        return Frame(Opcode.TEXT, text)


def negotiate(vsn: str | None, binary: str | None = None) -> PhoenixDialect:
    """Return the dialect for the `vsn` of a handshake; none means 1.0.0.

    `binary` is another parameter of it: with `false` the client is sent no binary frames.
    phoenix.js, which knows the language but not kind 4, throws at the first one.

    Raises:
        UnsupportedVersion: neither 1.0.x nor 2.0.x.
    """
    if vsn is None:
        return PhoenixDialect("1.0.0")
    found = _SUPPORTED.fullmatch(vsn)
    if found is None:
        raise UnsupportedVersion("vsn is neither 1.0.x nor 2.0.x")
    if found[1] == "1":
        return PhoenixDialect("1.0.0")
    return PhoenixDialect("2.0.0", binary != "false")
