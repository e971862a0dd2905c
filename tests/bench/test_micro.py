"""The single calls whose instructions are counted."""

from __future__ import annotations

import pytest
from micro.calls import CALLS


@pytest.mark.parametrize("name", CALLS)
def test_a_call_can_be_made_again_and_again(name):
    call = CALLS[name]()

    assert call() == call()
