"""The supervision tree as operators see it: who lives where, how often it was restarted, what went wrong lately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.core.spec import Intensity, Strategy
from actors.core.supervisor import Supervisor
from actors.observer import kind_of, label_of

if TYPE_CHECKING:
    from random import Random

    from actors.core.supervisor import ChildInfo
    from actors.observer import Observer


class SupervisionTree:
    """The supervisors of a node by name, parents first."""

    def __init__(self, random: Random, observer: Observer) -> None:
        self._random = random
        self._observer = observer
        self._supervisors: dict[str, Supervisor] = {}

    def supervisor(
        self, name: str, intensity: Intensity, strategy: Strategy = Strategy.ONE_FOR_ONE
    ) -> Supervisor:
        """Return a new one, under that name."""
        made = self._supervisors[name] = Supervisor(
            random=self._random,
            observe=self._observer,
            intensity=intensity,
            strategy=strategy,
        )
        return made

    def supervisors(self) -> tuple[Supervisor, ...]:
        """Return all of them."""
        return tuple(self._supervisors.values())

    def describe_actors(self) -> list[dict[str, Any]]:
        """Return what is known of every living actor; JSON values only."""
        return [
            {"supervisor": name, **_describe(child)}
            for name, supervisor in self._supervisors.items()
            for child in supervisor.children()
        ]

    def report(self, limit: int) -> dict[str, Any]:
        """Return the tree with so many actors of each supervisor, and what went wrong; JSON values only."""
        return {
            "supervisors": [
                {
                    "name": name,
                    "size": supervisor.size,
                    "actors": [_describe(child) for child in supervisor.children(limit)],
                }
                for name, supervisor in self._supervisors.items()
            ],
            "crashes": self._observer.crashes,
            "restarts": self._observer.restarts,
            "incidents": [incident.describe() for incident in self._observer.incidents],
        }

    def crash_actor(self, name: str) -> bool:
        """Let the actor of that name crash when it takes its next message; False if there is none."""
        for supervisor in self.supervisors():
            for child in supervisor.children():
                ref = supervisor.find(child.name)
                if label_of(child.name) == name and ref is not None:
                    return supervisor.poison(ref)
        return False


def _describe(child: ChildInfo) -> dict[str, Any]:
    return {
        "name": label_of(child.name),
        "kind": kind_of(child.name),
        "incarnation": child.incarnation,
        "restarts": max(child.incarnation - 1, 0),
        "is_running": child.is_running,
        "queued": child.mailbox.queued,
        "rejected": child.mailbox.rejected,
        "heir_size": child.heir_size,
    }
