"""What the tests of the benchmarks share: two cores and what compiles a load generator."""

from __future__ import annotations

import os
import shutil

import pytest
from machine import Cores

from tests.support.requirements import require

TOOLS = ("cc", "taskset", "setpriv")


@pytest.fixture(scope="session")
def cores() -> Cores:
    """Two cores, or one twice: nothing is measured here."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    require(not missing, f"The load generator needs {missing}: install gcc and util-linux.")
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(server=allowed[0], loadgen=allowed[-1])
