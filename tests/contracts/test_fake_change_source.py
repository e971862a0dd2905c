from __future__ import annotations

import pytest
from attrs import define, field

from protocol.changes.model import Kind
from tests.contracts.change_source import CONTRACT
from tests.support.changes import INT4, make_change, make_table
from tests.support.fakes import FakeChangeSource


@define
class FakeHarness:
    is_durable: bool
    source: FakeChangeSource = field()

    @source.default
    def _make(self):
        return FakeChangeSource(is_durable=self.is_durable)

    async def insert(self, *ids):
        table = make_table({"id": INT4})
        self.source.commit(
            *(make_change(Kind.INSERT, table, new=(str(number),)) for number in ids)
        )

    async def break_off(self):
        self.source.break_off()


@pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "temporary"])
@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
@pytest.mark.capability("SB-098")
async def test_the_fake_keeps_the_contract_of_a_change_source(must, is_durable, autojump_clock):
    await must(FakeHarness(is_durable))
