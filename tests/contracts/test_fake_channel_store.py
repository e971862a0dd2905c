"""The store that tests use keeps channels as the real one does."""

from __future__ import annotations

import pytest

from tests.contracts.channel_store import CONTRACT
from tests.support.channels import MemoryChannelStore


@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
async def test_the_fake_keeps_the_contract_of_a_channel_store(must, autojump_clock):
    store = MemoryChannelStore()

    await must(store, lambda: store)
