"""The connections of a tenant: where the web floor hands over the clients it admits."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from attrs import frozen

from actors.core.spec import ChildSpec, Overflow, Restart
from actors.realtime.admission import refuse_if_full, refuse_if_suspended
from actors.realtime.connection import ConnectionActor
from actors.realtime.departures import Departures

if TYPE_CHECKING:
    from actors.core.supervisor import Supervisor
    from actors.realtime.ports import Opening
    from actors.realtime.tenant import Tenant
    from actors.telemetry.metrics import Metrics

RANK = 3
CAPACITY = 256


@frozen(eq=False)
class Newcomer:
    """The factory of a connection actor; a partial or a closure would take some hundred bytes more."""

    name: str
    opening: Opening
    connections: Connections

    def __call__(self) -> ConnectionActor:
        return self.connections.make(self.name, self.opening)


class Connections:
    """Starts a connection actor for each client; implements `ports.Door`."""

    def __init__(
        self, supervisor: Supervisor, tenant: Tenant, metrics: Metrics, *, grace_s: float
    ) -> None:
        self._supervisor = supervisor
        self._tenant = tenant
        self._metrics = metrics
        self._grace_s = grace_s
        self._departures = Departures()
        self._numbers = count(1)

    def refuse_if_suspended(self) -> None:
        """Let nobody in while the tenant is switched off; never waits.

        Raises:
            Suspended: it is.
        """
        refuse_if_suspended(self._tenant)

    def refuse_if_full(self) -> None:
        """Let nobody in who could not join anything; never waits.

        Raises:
            RateLimited: there are too many users, or joins.
        """
        refuse_if_full(self._tenant)

    def admit(self, opening: Opening) -> None:
        """Start a connection actor for the client; never waits."""
        name = f"conn_{next(self._numbers)}"
        spec = ChildSpec(
            name=name,
            factory=Newcomer(name, opening, self),
            rank=RANK,
            restart=Restart.TEMPORARY,
            capacity=CAPACITY,
            overflow=Overflow.STOP,
            stop_within=self._grace_s,
        )
        self._supervisor.start_child(spec)

    def make(self, name: str, opening: Opening) -> ConnectionActor:
        """Return an actor for the client, for its incarnation."""
        return ConnectionActor(name, opening, self._tenant, self._metrics, self._departures)
