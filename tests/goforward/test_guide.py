"""What GoForward's document recommends is answered on the dialect's page, and its small promises hold."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from actors.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "goforward.md").read_text("utf-8")
ADVICE = PAGE[PAGE.index("## Advice") :]


@pytest.mark.capability(
    "GF-125",
    "GF-147",
    "GF-148",
    "GF-149",
    "GF-151",
    "GF-152",
    "GF-155",
    "GF-156",
)
@pytest.mark.parametrize(
    "advice",
    [
        "reuse connections",
        "batch messages",
        "throttle presence",
        "clean up channels",
        "create index concurrently … on messages (user_id, created_at desc)",
        "partition large tables",
        "handle errors, come back with growing pauses",
        "limit the client's rate",
        "watch and log",
        "check tokens, origins, inputs, permissions, rows",
    ],
)
def test_the_page_answers_each_recommendation(advice):
    assert advice in ADVICE


@pytest.mark.capability("GF-135")
@pytest.mark.parametrize("code", ["AUTH_FAILED", "RATE_LIMIT_EXCEEDED", "CHANNEL_NOT_FOUND"])
def test_the_page_says_what_a_client_does_about_an_error(code):
    told = PAGE[PAGE.index("A client whose answer is") :].split("\n\n")[0]

    assert code in told


@pytest.mark.capability("GF-162")
def test_the_port_is_that_of_the_examples():
    assert Settings().port == 8080


@pytest.mark.capability("GF-136")
def test_tests_can_be_chosen_by_kind():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    markers = project["tool"]["pytest"]["ini_options"]["markers"]

    assert {"postgres", "slow"} <= {marker.partition(":")[0] for marker in markers}
