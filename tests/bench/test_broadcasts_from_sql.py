"""Broadcasts from SQL, with a few clients."""

from __future__ import annotations

import pytest
from peers.catalogue import TROUPE
from workloads.database import BroadcastFromSql
from workloads.place import QUICK, Place

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


def test_every_client_hears_every_broadcast(cores):
    workload = BroadcastFromSql(clients=3, per_s=10, seconds=0.5)

    measured = workload.measure(Place(TROUPE, (), cores, QUICK))

    assert (measured["counted"], measured["delivered"]) == (15, 1.0)
