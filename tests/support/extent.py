"""How far the longest tests go: short in every run, long when `TROUPE_TESTS=long` asks for it."""

from __future__ import annotations

import os


def is_long() -> bool:
    """Whether the long forms were asked for; they take minutes and disk space."""
    return os.environ.get("TROUPE_TESTS") == "long"
