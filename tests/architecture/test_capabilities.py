"""What the list of capabilities says about this project is shown by tests."""

from __future__ import annotations

import pytest

from tests.support.capabilities import (
    DOCUMENTS,
    PAGE,
    ROOT,
    balance,
    capabilities,
    citations,
    cited_in,
    complaints,
    expected_ids,
)

ROWS = "\n".join(f"| {name} | words | open: x |" for name in expected_ids())


@pytest.mark.capability("SB-189")
def test_page_and_tests_agree():
    cited = citations((ROOT / "tests").rglob("*.py"))

    assert complaints(PAGE.read_text("utf-8"), cited) == []


def test_a_complete_page_of_open_rows_is_complained_about_by_nobody():
    assert complaints(ROWS, {}) == []
    assert {row.kind for row in capabilities(ROWS)} == {"open"}


@pytest.mark.parametrize(
    ("page", "cited"),
    [
        (ROWS.replace("| SB-001 | words | open: x |\n", ""), {}),
        (ROWS + "\n| SB-001 | words | open: x |", {}),
        (ROWS + "\n| SB-999 | words | open: x |", {}),
        (ROWS, {"XX-001": ["a"]}),
        (ROWS, {"SB-001": ["a"]}),
        (ROWS.replace("SB-001 | words | open: x", "SB-001 | words | done"), {}),
        (
            ROWS.replace("SB-001 | words | open: x", "SB-001 | words | nearly"),
            {"SB-001": ["a"]},
        ),
        (ROWS.replace("SB-001 | words | open: x", "SB-001 |  | open: x"), {}),
        (
            ROWS.replace("SB-001 | words | open: x", "SB-001 | words | otherwise: C01"),
            {"SB-001": ["a"]},
        ),
    ],
    ids=[
        "missing",
        "twice",
        "no id",
        "cited without a row",
        "cited though open",
        "done and not cited",
        "no status",
        "no words",
        "no such resolution",
    ],
)
def test_a_disagreement_is_found(page, cited):
    assert len(complaints(page, cited)) == 1


def test_a_resolution_may_stand_in_for_done_when_it_is_explained_and_cited():
    page = ROWS.replace("SB-001 | words | open: x", "SB-001 | words | otherwise: C01")

    assert complaints(page + "\n| C01 | because |", {"SB-001": ["a"]}) == []


def test_citations_are_read_from_marks():
    source = '@pytest.mark.capability("SB-001", "SB-002")\ndef test_x(): ...\n'

    assert cited_in(source) == {"SB-001", "SB-002"}
    assert cited_in('"SB-001"\ncapability("SB-002")\n') == set()


@pytest.mark.capability("SB-182")
def test_the_balance_counts_every_row():
    lines = balance(ROWS).splitlines()[1:]

    assert [int(line.split()[-1]) for line in lines] == list(DOCUMENTS.values())
