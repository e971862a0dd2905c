"""Client frames of the Phoenix dialect, and a server made of a session alone, of any dialect.

`SessionServer` does what a connection with one client does: it accepts every join, acknowledges, echoes, closes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import Factory, define, field

from protocol.commands import (
    Answer,
    Broadcast,
    Heartbeat,
    Join,
    Leave,
    PresenceAction,
    PresencePush,
)
from protocol.errors import ProtocolError
from protocol.events import Closed, Joined, JoinRefused, PresenceState, Replaced, Reply
from protocol.presence.meta import Meta, are_same
from protocol.presence.published import Published

if TYPE_CHECKING:
    from protocol.commands import Command
    from protocol.dialect import Dialect, Session
    from protocol.events import Event
    from protocol.frames import Frame

ROOM = "realtime:room"


def frame(version, topic, event, payload=None, ref=None, join_ref=None):
    """Return a client's text frame; `payload` may be a value or, as bytes, JSON."""
    body = payload.decode() if isinstance(payload, bytes) else json.dumps(payload or {})
    head = [json.dumps(part) for part in (join_ref, ref, topic, event)]
    if version == "2.0.0":
        return f"[{','.join([*head, body])}]"
    keys = ("join_ref", "ref", "topic", "event")
    members = [f'"{key}":{value}' for key, value in zip(keys, head, strict=True)]
    return f'{{{",".join(members)},"payload":{body}}}'


@define
class SessionServer:
    """Answers frames as a node with one client and one topic would, without a node."""

    dialect: Dialect
    user_id: str = ""
    _session: Session = field(
        default=Factory(lambda self: self.dialect.session(self.user_id), takes_self=True),
        init=False,
    )
    _published: Published[None] = field(factory=Published, init=False)
    _tracked: Meta | None = field(default=None, init=False)
    _joins: dict[str, Join] = field(factory=dict, init=False)
    _sent: list[Frame] = field(factory=list, init=False)

    def begin(self) -> list[Frame]:
        """Return what is sent to who connected."""
        self._sent = []
        for command in self._session.begin():
            self._carry_out(command)
        return self._sent

    def receive(self, data: str | bytes) -> list[Frame]:
        """Return what is sent because of one frame."""
        self._sent = []
        try:
            commands = self._session.receive(data)
        except ProtocolError as error:
            if error.ends_connection:
                raise
            return []
        for command in commands:
            self._carry_out(command)
        return self._sent

    def _push(self, topic: str, event: Event) -> None:
        self._sent.extend(self.dialect.encode(event, topic, self.user_id))

    def _carry_out(self, command: Command) -> None:
        match command:
            case Answer():
                self._push(command.topic, command.reply)
            case Heartbeat():
                self._push(command.topic, Reply(command.ref, None, ok=True))
            case Join():
                self._accept(command)
            case Leave():
                self._joins.pop(command.topic, None)
                self._push(command.topic, Reply(command.ref, command.join_ref, ok=True))
                self._push(command.topic, Closed(command.join_ref))
            case Broadcast():
                options = self._joins[command.topic].options
                if options.ack:
                    self._push(command.topic, Reply(command.ref, command.join_ref, ok=True))
                if options.echo:
                    self._push(command.topic, command.message)
            case PresencePush():
                self._be_present(command)

    def _be_present(self, push: PresencePush) -> None:
        ok, response = True, b"{}"
        match push.action:
            case PresenceAction.UNKNOWN:
                ok = False
            case PresenceAction.TRACK if push.payload is None:
                ok, response = False, b'{"reason":"Presence track payload must be a map"}'
            case PresenceAction.TRACK:
                self._track(self._joins[push.topic].options.presence_key, push.payload)
            case PresenceAction.UNTRACK:
                self._tracked = None
        self._push(push.topic, Reply(push.ref, push.join_ref, ok, response))
        self._tell_presence(push.topic)

    def _track(self, key: str, payload: bytes) -> None:
        if self._tracked is None or not are_same(self._tracked.payload, payload):
            self._tracked = Meta(key, payload, payload.hex())

    def _tell_presence(self, topic: str) -> None:
        self._published.note(None, self._tracked)
        diff = self._published.next_diff(1_000_000)
        if diff is not None:
            room = self._joins[topic].sub_topic
            for other, join in self._joins.items():
                if join.sub_topic == room:
                    self._push(other, diff.event())
            self._published.confirm(diff)

    def _accept(self, join: Join) -> None:
        if join.fault is not None:
            fault = join.fault
            refusal = JoinRefused(join.ref, join.join_ref, fault.code, fault.reason)
            self._push(join.topic, refusal)
            self._session.settle(join.topic, join.number, joined=False)
            return
        replaced = self._joins.get(join.topic)
        self._joins[join.topic] = join
        self._push(join.topic, Joined(join.ref, join.join_ref, join.options.changes))
        if join.replaces is not None:
            self._push(join.topic, Replaced(replaced.join_ref))
        if join.options.presence_enabled:
            self._push(join.topic, PresenceState(join.join_ref, self._published.state()))
        for command in self._session.settle(join.topic, join.number, joined=True):
            self._carry_out(command)
