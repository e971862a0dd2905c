"""Every test of this folder runs on a virtual clock that jumps when everybody waits: seconds cost nothing here."""

from __future__ import annotations

from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock


def run_on_virtual_clock(fn, *args, clock=None, instruments=()):
    clock = clock or MockClock(autojump_threshold=0)
    return trio.run(fn, *args, clock=clock, instruments=instruments)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_on_virtual_clock))
