"""What a client makes of presence messages: the state as it arrived, then the diffs, folded as phoenix.js folds them.

**Source**: @supabase/phoenix 0.4.5, `presence.js`: joins are applied first, then leaves by `phx_ref`;
diffs that come before the state of the current join wait for it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import define, field

Metas = dict[str, dict[str, list[dict[str, Any]]]]


@define
class Folded:
    """Who is present, in the eyes of one client; `faults` is what a sound server never lets happen."""

    state: dict[str, list[dict[str, Any]]] = field(factory=dict)
    has_state: bool = False
    faults: list[str] = field(factory=list)
    #: How often each ref was joined and left, the state of a join counting as joins.
    joined: Counter[str] = field(factory=Counter)
    left: Counter[str] = field(factory=Counter)
    _waiting: list[dict[str, Metas]] = field(factory=list)

    def begin(self) -> None:
        """Join anew: what was known counts no more."""
        self.state, self.has_state, self._waiting = {}, False, []
        self.joined, self.left = Counter(), Counter()

    def take(self, message: Any) -> None:
        """Take a message of the server, if it is about presence."""
        if message.event == "presence_state":
            self.take_state(message.payload)
        elif message.event == "presence_diff":
            self.take_diff(message.payload)

    def take_state(self, state: Metas) -> None:
        if self.has_state:
            self.faults.append("a second state for one join")
        self.has_state = True
        self.state = {key: list(presence["metas"]) for key, presence in state.items()}
        self.joined.update(self.refs())
        for diff in self._waiting:
            self._apply(diff)
        self._waiting = []

    def take_diff(self, diff: dict[str, Metas]) -> None:
        if diff.keys() != {"joins", "leaves"}:
            self.faults.append(f"a diff with {sorted(diff)}")
        if not (diff["joins"] or diff["leaves"]):
            self.faults.append("an empty diff")
        if self.has_state:
            self._apply(diff)
        else:
            self._waiting.append(diff)

    def refs(self) -> set[str]:
        """Return the refs of all that are present."""
        return {meta["phx_ref"] for metas in self.state.values() for meta in metas}

    def payloads(self) -> dict[str, dict[str, Any]]:
        """Return what each ref tracks."""
        return {
            meta["phx_ref"]: {
                name: value for name, value in meta.items() if not name.startswith("phx_ref")
            }
            for metas in self.state.values()
            for meta in metas
        }

    def _apply(self, diff: dict[str, Metas]) -> None:
        for key, presence in diff["joins"].items():
            known = self.state.setdefault(key, [])
            for meta in presence["metas"]:
                if self.joined[meta["phx_ref"]]:
                    self.faults.append(f"{meta['phx_ref']} joined twice")
                self.joined[meta["phx_ref"]] += 1
                known.append(meta)
        for key, presence in diff["leaves"].items():
            gone = {meta["phx_ref"] for meta in presence["metas"]}
            known = self.state.get(key, [])
            if not gone <= {meta["phx_ref"] for meta in known}:
                self.faults.append(f"{sorted(gone)} left {key} and were not there")
            self.left.update(gone)
            self.state[key] = [meta for meta in known if meta["phx_ref"] not in gone]
            if not self.state[key]:
                del self.state[key]
