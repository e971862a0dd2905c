"""Every module can be imported: nothing is left that names what is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.source import ROOT, modules


def imported(names: list[str]) -> subprocess.CompletedProcess[str]:
    """Import modules in a process of their own, which nothing of the suite was imported into."""
    return subprocess.run(
        [sys.executable, "-c", "\n".join(f"import {name}" for name in names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.capability("M5-003", "M5-043", "M5-071")
def test_every_module_can_be_imported():
    ended = imported([module.name for module in modules()])

    assert ended.returncode == 0, ended.stderr


def test_a_module_that_cannot_be_imported_is_found():
    assert imported(["actors.no_such_module"]).returncode != 0
