from __future__ import annotations

import pytest
from attrs import define, field

from tests.contracts.change_source import CONTRACT
from tests.support.changes import INT4, make_table
from tests.support.source import MemorySource


@define
class MemoryHarness:
    is_durable: bool
    source: MemorySource = field()

    @source.default
    def _make(self):
        return MemorySource(durable=self.is_durable)

    async def insert(self, *ids):
        self.source.insert(*((number,) for number in ids), table=make_table({"id": INT4}))

    async def break_off(self):
        self.source.end_streams("the database went away")


@pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "temporary"])
@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
@pytest.mark.capability("SB-098")
async def test_the_fake_keeps_the_contract_of_a_change_source(must, is_durable, autojump_clock):
    await must(MemoryHarness(is_durable))
