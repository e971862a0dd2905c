"""The registry: one living actor per key, started when it is first asked for.

A plain table with synchronous methods: between two checkpoints nobody else runs, so nothing can race.
A look-up may return a ref that retires a moment later; who gets `ActorStopped` asks again and starts a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from actors.core.ref import Ref
    from actors.core.spec import ChildSpec
    from actors.core.supervisor import Supervisor

K = TypeVar("K", bound="Hashable")
M = TypeVar("M")


class Registry(Generic[K, M]):
    """The children of a supervisor whose names are keys of one kind."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def get(self, key: K) -> Ref[M] | None:
        """Return the living actor of that key."""
        return self._supervisor.find(key)

    def get_or_start(self, key: K, spec: Callable[[K], ChildSpec[M]]) -> Ref[M]:
        """Return the living actor of that key, or start one from `spec(key)`.

        While the supervisor does not run, the ref is of one that is gone already: ask again once, not in a loop.

        Raises:
            ValueError: the spec is not named by the key.
        """
        ref: Ref[M] | None = self.get(key)
        if ref is not None:
            return ref
        made = spec(key)
        if made.name != key:
            raise ValueError(f"the spec for {key!r} is named {made.name!r}")
        return self._supervisor.start_child(made)
