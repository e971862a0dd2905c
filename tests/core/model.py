"""What actors are meant to do, without a loop, a clock or a task: a pure model to compare the real ones with.

Between two steps each actor is idle (nothing queued), held (by a message it has in hand) or gone for good.
"""

from __future__ import annotations

from attrs import Factory, define

CAPACITY = 3
RESTARTS = 2
STOP_WITHIN = 5
ASK_WITHIN = 12


@define
class ModelActor:
    name: str
    log: list = Factory(list)
    queue: list = Factory(list)
    senders: list = Factory(list)
    signals: list = Factory(list)
    kept: list = Factory(list)
    watchers: list = Factory(list)
    incarnation: int = 1
    crashes: int = 0
    is_held: bool = False
    is_stopping: bool = False
    end: str | None = None


@define
class Model:
    """`outcomes` holds what became of each send and question, by its number."""

    actors: dict = Factory(dict)
    outcomes: dict = Factory(dict)
    due: dict = Factory(dict)
    now: int = 0

    def start(self, name):
        if name not in self.actors or self.actors[name].end:
            self.actors[name] = ModelActor(name)

    def tell(self, actor, message):
        has_room = not actor.end and not actor.senders and len(actor.queue) < CAPACITY
        if has_room:
            actor.queue.append(message)
            self._drain(actor)
        return has_room

    def send(self, actor, message):
        """A message with a number: a `note` that is sent, a question that is asked."""
        kind, number = message
        if kind != "note":
            self.due[number] = self.now + ASK_WITHIN
        if actor.end:
            self._settle(number, "ActorStopped")
        elif not self.tell(actor, message):
            actor.senders.append(message)
        elif kind == "note":
            self._settle(number, "sent")

    def give_up_sending(self, actor):
        for message in actor.senders:
            self._settle(message[1], "cancelled")
        actor.senders.clear()

    def watch(self, actor, other):
        if actor.end:
            return
        if other.end:
            actor.signals.append(("terminated", other.name, other.end))
        elif actor not in other.watchers:
            other.watchers.append(actor)
        self._drain(actor)

    def unwatch(self, actor, other):
        if actor in other.watchers:
            other.watchers.remove(actor)

    def release(self, actor):
        actor.is_held = False
        self._drain(actor)

    def stop(self, actor):
        if not actor.end and not actor.is_stopping:
            actor.is_stopping = True
            actor.signals.append(("stopping",))
            self._drain(actor)

    def fail(self, actor):
        if not actor.end and not actor.is_stopping:
            self._crash(actor)
            self._drain(actor)

    def advance(self):
        """Let ten seconds pass: questions time out after two of them, stops after five."""
        self.now += 10
        for number in [number for number, due in self.due.items() if due < self.now]:
            self._settle(number, "AskTimeout")
            for actor in self.actors.values():
                actor.senders = [sender for sender in actor.senders if sender[1] != number]
        for actor in self.actors.values():
            if actor.is_stopping and not actor.end:
                self._bury(actor, "stopped")

    def _drain(self, actor):
        while not actor.end and not actor.is_held and (actor.signals or actor.queue):
            if actor.signals:
                signal = actor.signals.pop(0)
                actor.log.append(signal)
                if signal == ("stopping",):
                    self._bury(actor, "stopped")
                continue
            message = actor.queue.pop(0)
            if actor.senders:
                sender = actor.senders.pop(0)
                actor.queue.append(sender)
                if sender[0] == "note":
                    self._settle(sender[1], "sent")
            self._handle(actor, message)

    def _handle(self, actor, message):
        if message != ("poison",):
            actor.log.append(message)
        match message:
            case ("ask", number):
                self._settle(number, ("answer", actor.incarnation))
            case ("keep", number):
                actor.kept.append(number)
            case ("answer kept",):
                for number in actor.kept:
                    self._settle(number, ("answer", actor.incarnation))
                actor.kept.clear()
            case ("hold",):
                actor.is_held = True
            case ("crash",) | ("poison",):
                self._crash(actor)
            case ("return",):
                self._bury(actor, "returned")
            case ("retire",) if not actor.queue and not actor.signals:
                self._bury(actor, "returned")

    def _crash(self, actor):
        actor.crashes += 1
        actor.is_held = False
        for number in actor.kept:
            self._settle(number, "ActorCrashed")
        actor.kept.clear()
        if actor.crashes > RESTARTS:
            self._bury(actor, "gave up")
            return
        actor.incarnation += 1
        for watcher in actor.watchers:
            self._signal(watcher, actor, ("restarted", actor.name, actor.incarnation))

    def _bury(self, actor, reason):
        actor.end = reason
        for number in actor.kept:
            self._settle(number, "ActorStopped")
        for message in actor.queue + actor.senders:
            if message[0] in ("ask", "keep") or message in actor.senders:
                self._settle(message[1], "ActorStopped")
        actor.queue, actor.senders, actor.signals, actor.kept = [], [], [], []
        for watcher in actor.watchers:
            self._signal(watcher, actor, ("terminated", actor.name, reason))
        actor.watchers = []
        for other in self.actors.values():
            self.unwatch(actor, other)

    def _signal(self, watcher, sender, signal):
        if not watcher.end:
            watcher.signals.append(signal)
            if watcher is not sender:
                self._drain(watcher)

    def _settle(self, number, outcome):
        self.due.pop(number, None)
        self.outcomes.setdefault(number, outcome)
