"""What docs/reference/capabilities.md promises, and which tests show it; `make capabilities` prints the balance.

A row of the page is one id of a source document, in our words, with what became of it:
`done`, `otherwise: C07` (served in another way, by that resolution), or `open: <subject>`.
A test cites ids with `@pytest.mark.capability("SB-129")`; what is not open must be cited, what is open must not.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "capabilities.md"

#: Each document and how many capabilities it names; their ids are numbered without gaps.
DOCUMENTS = {"SB": 199, "GF": 164, "FB": 87, "M5": 86, "AG": 46}

ROW = re.compile(r"^\| ([A-Z0-9]{2}-\d{3}) \|(.*)\|(.*)\|$", re.MULTILINE)
STATUS = re.compile(r"(done)|(otherwise): (C\d\d)|(open): \S.*")
RESOLUTION = re.compile(r"^\| (C\d\d) \|", re.MULTILINE)


@frozen
class Capability:
    """One row."""

    id: str
    words: str
    status: str

    @property
    def kind(self) -> str:
        """Return done, otherwise or open; empty if the status is none of them."""
        found = STATUS.fullmatch(self.status)
        return next(filter(None, found.groups())) if found else ""


def capabilities(page: str) -> list[Capability]:
    """Return the rows of the page's text."""
    return [Capability(*(part.strip() for part in row)) for row in ROW.findall(page)]


def expected_ids() -> list[str]:
    """Return every id that the page must have."""
    return [
        f"{name}-{number:03}"
        for name, count in DOCUMENTS.items()
        for number in range(1, count + 1)
    ]


def cited_in(source: str) -> set[str]:
    """Return the ids that the marks of a test module name."""
    return {
        argument.value
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "capability"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def citations(tests: Iterable[Path]) -> Mapping[str, list[str]]:
    """Return the names of the test files that cite an id, by id."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in tests:
        for name in cited_in(path.read_text("utf-8")):
            found[name].append(path.name)
    return found


def complaints(page: str, cited: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a sentence for each thing that page and tests do not agree on."""
    rows = capabilities(page)
    counted = Counter(row.id for row in rows)
    resolutions = set(RESOLUTION.findall(page))
    found = [
        f"{name} has {counted[name]} rows" for name in expected_ids() if counted[name] != 1
    ]
    found += [f"{name} is no id" for name in sorted(counted.keys() - set(expected_ids()))]
    found += [
        f"{name} is cited and has no row" for name in sorted(cited.keys() - counted.keys())
    ]
    for row in rows:
        used = set(re.findall(r"C\d\d", row.status))
        if not row.kind or not row.words or not used <= resolutions:
            found.append(f"{row.id} has no words or no status: {row.status}")
        elif row.kind == "open" and row.id in cited:
            found.append(f"{row.id} is open, yet {cited[row.id]} cite it")
        elif row.kind != "open" and row.id not in cited:
            found.append(f"{row.id} is {row.status}, and no test cites it")
    return found


def balance(page: str) -> str:
    """Return a table: per document, how many are done, served otherwise, and open."""
    counted = Counter((row.id[:2], row.kind) for row in capabilities(page))
    lines = [f"{'':4}{'done':>6}{'otherwise':>11}{'open':>6}"]
    for name in DOCUMENTS:
        done, otherwise, is_open = (
            counted[name, kind] for kind in ("done", "otherwise", "open")
        )
        lines.append(f"{name:4}{done:>6}{otherwise:>11}{is_open:>6}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(balance(PAGE.read_text("utf-8")))  # noqa: T201
