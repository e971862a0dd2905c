from __future__ import annotations

import pytest

from actors.db.slots import MAX_SUFFIX_BYTES, SlotOptions, durable_name


def test_a_durable_slot_is_named_after_its_database_and_suffix():
    assert durable_name(16384, "") == "troupe_16384"
    assert durable_name(16384, "blue_2") == "troupe_16384_blue_2"
    assert len(durable_name(2**32 - 1, "x" * MAX_SUFFIX_BYTES)) == 63


@pytest.mark.parametrize("suffix", ["Blue", "a-b", "a b", "ä", "x" * (MAX_SUFFIX_BYTES + 1)])
def test_a_suffix_that_cannot_be_part_of_a_name_is_refused(suffix):
    with pytest.raises(ValueError, match="suffix"):
        SlotOptions(suffix=suffix)
