"""The rule for tests that cannot run, tested itself."""

from __future__ import annotations

import pytest

from tests.support.requirements import missing, require

# pytest's own outcomes are public as the `Exception` attribute of the functions that raise them.
Failed = pytest.fail.Exception
Skipped = pytest.skip.Exception


def test_something_missing_skips_on_a_developers_machine(monkeypatch):
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(Skipped, match="no cake here"):
        missing("no cake here")


def test_something_missing_fails_under_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")

    with pytest.raises(Failed, match="no cake here"):
        missing("no cake here")


def test_what_is_there_lets_the_test_go_on(monkeypatch):
    monkeypatch.setenv("CI", "true")

    require(True, "never said")
