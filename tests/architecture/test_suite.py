"""The suite is run as a whole, by everybody, and what needs a database can be told by its mark."""

from __future__ import annotations

import ast
import tomllib

import pytest

from tests.architecture.source import ROOT

#: Fixtures that start a Postgres.
DATABASE_FIXTURES = {"postgres_server", "database"}


def unmarked(path: str, text: str) -> list[str]:
    """Return a sentence for each test that starts a Postgres and does not bear the mark."""
    tree = ast.parse(text)
    if any(
        "mark.postgres" in ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.Assign)
    ):
        return []
    return [
        f"{path}: {node.name} needs the mark postgres"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and DATABASE_FIXTURES & {argument.arg for argument in node.args.args}
        and not any("mark.postgres" in ast.unparse(mark) for mark in node.decorator_list)
    ]


@pytest.mark.capability("SB-186", "M5-042", "M5-044", "M5-069")
def test_the_default_run_leaves_nothing_out():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]

    assert options["ini_options"]["testpaths"] == ["tests"]
    assert not {"-m", "-k", "--ignore", "--deselect"} & set(options["ini_options"]["addopts"])


def test_continuous_integration_runs_what_a_developer_runs():
    last = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1]

    assert last == "make test"
    assert "\ntest: lint unit " in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.capability("M5-070", "M5-082")
def test_tests_with_a_database_are_marked():
    paths = sorted((ROOT / "tests").rglob("test_*.py"))

    assert [one for path in paths for one in unmarked(path.name, path.read_text("utf-8"))] == []


def test_a_test_without_the_mark_is_found():
    source = "def test_x(database): ...\n"

    assert len(unmarked("a.py", source)) == 1
    assert unmarked("a.py", f"@pytest.mark.postgres\n{source}") == []
    assert unmarked("a.py", f"pytestmark = pytest.mark.postgres\n{source}") == []
