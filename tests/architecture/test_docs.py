"""What the documentation says about the project is true as far as a test can tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from attrs import fields

from actors.commands import doctor, token
from actors.settings import Settings
from actors.settings_loading import flag
from protocol.changes.model import Kind
from tests.architecture.source import ROOT, modules
from tests.compat.client import KINDS, who_can
from tests.support.client_table import rows
from tests.support.reference import pages

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
FRAGMENT = re.compile(r"[a-z0-9-]+\.(feature|fix|change|removal|security)\.md")
ADR_SECTIONS = [
    "Status",
    "Context",
    "Decision",
    "Consequences",
    "Evidence",
    "What would change our mind",
]
CAMEL_WORD = re.compile(r"[A-Z][a-z0-9]+|[A-Z]+(?![a-z])")


def markdown_files() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tests" / "README.md"]


def dead_links(path: Path, text: str) -> list[str]:
    return [
        f"{path}: {target} does not exist"
        for target in LINK.findall(text)
        if not (path.parent / target).exists()
    ]


def not_our_words(names: list[str], glossary: str) -> list[str]:
    """Return a sentence for each name of a class that uses a word the glossary has another word for."""
    rows = [line.split("|")[1:4] for line in glossary.splitlines() if line.startswith("| **")]
    better = {
        word.strip(): ours.strip(" *")
        for ours, _meaning, others in rows
        for word in others.split(",")
    }
    return [
        f"{name}: the word for {word.lower()!r} is {better[word.lower()]!r} (docs/glossary.md)."
        for name in names
        for word in CAMEL_WORD.findall(name)
        if better.get(word.lower())
    ]


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_page_made_from_the_code_is_up_to_date(path):
    assert path.read_text("utf-8") == pages()[path], "run 'make reference'"


def test_every_link_between_documents_leads_somewhere():
    assert [
        dead for path in markdown_files() for dead in dead_links(path, path.read_text("utf-8"))
    ] == []


def flags(parser: argparse.ArgumentParser) -> set[str]:
    """Return the flags of a command, and of what it can be told to do."""
    found = set(re.findall(r"--[a-z][a-z-]*", parser.format_help()))
    for action in parser._actions:  # argparse has no other way to its subcommands
        if isinstance(action.choices, dict):
            found = found.union(*map(flags, action.choices.values()))
    return found


def test_every_flag_that_a_reference_page_names_is_there():
    named = {
        name
        for path in (ROOT / "docs" / "reference").glob("*.md")
        for name in re.findall(r"`(--[a-z][a-z-]*)`", path.read_text("utf-8"))
    }

    settings = {flag(field) for field in fields(Settings)}
    assert named - settings - flags(doctor.grammar()) - flags(token.grammar()) == set()
    assert named


def test_a_link_that_leads_nowhere_is_found():
    assert len(dead_links(ROOT / "README.md", "[a](docs/no-such.md#x), [b](Makefile)")) == 1


def test_the_readme_is_short_enough_to_be_read():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


@pytest.mark.capability("SB-170", "SB-179", "SB-181")
@pytest.mark.parametrize(
    "words",
    [
        "WebSocket broadcasts, presence, and row changes from Postgres",
        "| broadcast over WebSocket, text | yes |",
        "| presence | yes |",
        "| row changes, with row security | yes |",
        "**What it does not promise.**",
        "(docs/reference/phoenix.md",
    ],
)
def test_the_readme_says_what_there_is_what_there_is_not_and_where_to_look_it_up(words):
    assert words in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.capability("SB-176")
@pytest.mark.parametrize("kind", Kind)
def test_the_page_on_row_changes_has_a_column_for_each_kind(kind):
    page = (ROOT / "docs" / "reference" / "postgres-changes.md").read_text("utf-8")
    header = next(line for line in page.splitlines() if line.startswith("| key |"))

    assert kind.name.lower() in header


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "adr").glob("0*.md")), ids=lambda path: path.stem
)
def test_a_decision_is_told_in_six_short_sections(path):
    lines = path.read_text("utf-8").splitlines()

    assert [
        line.removeprefix("## ") for line in lines if line.startswith("## ")
    ] == ADR_SECTIONS
    assert len(lines) <= 60


def test_news_fragments_have_a_name_that_says_their_type():
    names = {path.name for path in (ROOT / "docs" / "changes").iterdir()} - {"README.md"}

    assert [name for name in names if not FRAGMENT.fullmatch(name)] == []


def test_classes_are_named_with_the_words_of_the_glossary():
    names = [
        name
        for module in modules()
        for name in re.findall(r"^class (\w+)", module.text, re.MULTILINE)
    ]

    assert not_our_words(names, (ROOT / "docs" / "glossary.md").read_text("utf-8")) == []


def test_a_word_that_is_not_ours_is_found():
    glossary = "| **node** | one process | instance, server process |\n"

    assert len(not_our_words(["NodeInstance", "Node"], glossary)) == 1


def test_the_table_of_clients_knows_whom_a_test_runs_for():
    source = """
@pytest.mark.parametrize("kind", who_can("ack"), ids=str)
def test_some(start_client, kind): ...
@pytest.mark.parametrize("size", [1, 2])
def test_all_kinds(client, size): ...
def test_none(server): ...
"""

    assert dict(rows(source)) == {"some": who_can("ack"), "all kinds": KINDS}
