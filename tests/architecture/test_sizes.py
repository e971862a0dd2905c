"""A room never grows past what one reader can hold."""

from __future__ import annotations

import warnings

import pytest

from tests.architecture.rules import MAX_FILE_LINES, MAX_FUNCTION_LINES, WARN_FILE_LINES
from tests.architecture.source import Module, example, functions, modules


def lines(module: Module) -> int:
    return len(module.text.splitlines())


def long_files(module: Module, limit: int) -> list[str]:
    if lines(module) <= limit:
        return []
    return [
        f"{module.path} has {lines(module)} lines, more than {limit}: give one of its ideas a file."
    ]


def long_functions(module: Module) -> list[str]:
    return [
        f"{module.path}:{function.lineno}: {function.name} has more than {MAX_FUNCTION_LINES} lines: "
        "name its steps."
        for function in functions(module)
        if (function.end_lineno or function.lineno) - function.lineno >= MAX_FUNCTION_LINES
    ]


@pytest.mark.filterwarnings("always::UserWarning")
def test_no_file_is_too_long():
    for module in modules():
        for sentence in long_files(module, WARN_FILE_LINES):
            warnings.warn(sentence, UserWarning, stacklevel=1)

    assert [one for module in modules() for one in long_files(module, MAX_FILE_LINES)] == []


def test_no_function_is_too_long():
    assert [one for module in modules() for one in long_functions(module)] == []


def test_a_file_that_is_too_long_is_found():
    at_the_limit = example("a.py", "pass\n" * MAX_FILE_LINES)
    above = example("a.py", "pass\n" * (MAX_FILE_LINES + 1))

    assert long_files(at_the_limit, MAX_FILE_LINES) == []
    assert len(long_files(above, MAX_FILE_LINES)) == 1


def test_a_function_that_is_too_long_is_found():
    at_the_limit = "async def f():\n" + "    pass\n" * (MAX_FUNCTION_LINES - 1)

    assert long_functions(example("a.py", at_the_limit)) == []
    assert len(long_functions(example("a.py", at_the_limit + "    pass\n"))) == 1
