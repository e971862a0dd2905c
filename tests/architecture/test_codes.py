"""Every code that is raised, logged or counted has a row in the table of codes, and every row is used.

A code is found where it is written: in a call of an error class of `Refused`, as `code` of a `ProtocolError`,
in front of a literal text (`TopicNameRequired: …`), as `code=` of a log line, or among the values of a metric's label.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from actors.telemetry.absent_codes import ABSENT
from actors.telemetry.codes import CODES
from tests.architecture.source import Module, example, last_name, modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Their first argument is a code; so it is for what derives from them.
CARRIERS = {"JoinFault", "Refused"}
TABLES = {
    "actors.telemetry.codes",
    "actors.telemetry.database_codes",
    "actors.telemetry.goforward_codes",
    "actors.telemetry.managed_codes",
    "actors.telemetry.absent_codes",
}
#: Two words at least, so that "Error: …" is no code.
BEFORE_A_TEXT = re.compile(r"((?:[A-Z][a-z]+){2,}): [A-Z]")
LABELS = re.compile(r"\w+(Fault|Reason)")


def carriers(source: Iterable[Module]) -> set[str]:
    """Return the names of the error classes whose first argument is a code."""
    classes = [
        node
        for module in source
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    found = set(CARRIERS)
    while True:
        more = {one.name for one in classes if any(last_name(b) in found for b in one.bases)}
        if more <= found:
            return found
        found |= more


def codes_of(module: Module, classes: set[str]) -> Iterator[tuple[str, int]]:
    """Yield every code that a module gives, and the line."""
    constants = {
        last_name(target): node.value
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }

    def text(node: ast.AST | None) -> str:
        if isinstance(node, ast.Name):
            node = constants.get(node.id)
        return (
            node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        )

    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            is_carrier = node.name in classes
            yield from class_codes(node, text, is_carrier=is_carrier)
        elif isinstance(node, ast.Call):
            if last_name(node.func) in classes and node.args:
                yield text(node.args[0]), node.lineno
            yield from ((text(k.value), node.lineno) for k in node.keywords if k.arg == "code")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = BEFORE_A_TEXT.match(node.value)
            yield (found[1] if found else ""), node.lineno
        elif isinstance(node, ast.Assign) and LABELS.fullmatch(last_name(node.targets[0])):
            yield from ((text(one), node.lineno) for one in literal_members(node.value))


def class_codes(node: ast.ClassDef, text, *, is_carrier: bool) -> Iterator[tuple[str, int]]:
    """Yield the class's own `code`, and what a carrier hands up to the class it derives from."""
    for part in ast.walk(node):
        if isinstance(part, ast.Assign) and last_name(part.targets[0]) == "code":
            yield text(part.value), part.lineno
        elif is_carrier and isinstance(part, ast.Call) and last_name(part.func) == "__init__":
            yield text(part.args[0]), part.lineno


def literal_members(node: ast.AST) -> list[ast.expr]:
    if not isinstance(node, ast.Subscript) or last_name(node) != "Literal":
        return []
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def given(source: Iterable[Module]) -> dict[str, str]:
    """Return where each code is given, by the code."""
    source = [module for module in source if module.name not in TABLES]
    classes = carriers(source)
    return {
        code: f"{module.path}:{line}"
        for module in source
        for code, line in codes_of(module, classes)
        if code and code != "ProtocolError"
    }


def findings(places: dict[str, str], rows: set[str], absent: set[str]) -> list[str]:
    return [
        *(
            f"{where}: {code} is said not to occur."
            for code, where in places.items()
            if code in absent
        ),
        *(
            f"{where}: {code} has no row in actors/telemetry/codes.py."
            for code, where in places.items()
            if code not in rows | absent
        ),
        *(f"{code} has a row and does not occur." for code in sorted(rows - places.keys())),
    ]


def test_the_table_and_the_source_agree():
    rows = [code.name for code in CODES]
    absent = [name for names in ABSENT.values() for name in names]

    assert findings(given(modules()), set(rows), set(absent)) == []
    assert len({*rows, *absent}) == len(rows) + len(absent)


@pytest.mark.parametrize(
    "text",
    [
        "class A(Refused): ...\nclass B(A): ...\nraise B('NewCode', 'text')",
        "raise errors.Refused('NewCode', 'text')",
        "CODE = 'NewCode'\nraise Refused(CODE, 'text')",
        "CODE: Final = 'NewCode'\nraise Refused(CODE, 'text')",
        "class A(Refused):\n    def __init__(self): super().__init__('NewCode', 'text')",
        "class A(ProtocolError):\n    code = 'NewCode'",
        "TEXT = 'NewCode: Something is wrong'",
        "log.warning('thing.happened', code='NewCode')",
        "NewFault = Literal['NewCode']",
        "NewReason = Literal['NewCode', 'NewCode']",
    ],
)
def test_a_code_without_a_row_is_found(text):
    (finding,) = findings(given([example("actors/a.py", text)]), set(), set())

    assert "NewCode has no row" in finding


def test_a_row_that_is_not_used_and_an_absent_code_that_is_are_found():
    places = given([example("actors/a.py", "raise Refused('Absent', 'text')")])

    assert len(findings(places, {"Unused"}, {"Absent"})) == 2
