"""What a test does when something it needs is missing on this machine.

On a developer's machine the test is skipped with a sentence; with `CI=true` it fails,
because a suite that silently skips its own subject proves nothing.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(sentence: str) -> NoReturn:
    """Skip the running test, or fail it under CI; `sentence` says what is missing and how to get it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{sentence} (CI=true: a test that cannot run fails)", pytrace=False)
    pytest.skip(sentence)


def require(condition: object, sentence: str) -> None:
    """Go on if `condition` holds, else do as `missing`."""
    if not condition:
        missing(sentence)
