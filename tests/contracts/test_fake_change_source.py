from __future__ import annotations

import pytest
from attrs import define, field

from protocol.changes.model import Kind
from tests.contracts.change_source import CONTRACT
from tests.support.changes import INT4, make_change, make_table
from tests.support.fakes import FakeChangeSource


@define
class FakeHarness:
    source: FakeChangeSource = field(factory=FakeChangeSource)

    async def insert(self, *ids):
        table = make_table({"id": INT4})
        self.source.commit(
            *(make_change(Kind.INSERT, table, new=(str(number),)) for number in ids)
        )

    async def break_off(self):
        self.source.break_off()


@pytest.mark.parametrize("must", CONTRACT, ids=lambda must: must.__name__)
async def test_the_fake_keeps_the_contract_of_a_change_source(must, autojump_clock):
    await must(FakeHarness())
