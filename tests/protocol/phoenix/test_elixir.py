from __future__ import annotations

import pytest

from protocol.phoenix.elixir import inspect


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "%{}"),
        ({"b": [1, 2.5], "a": None}, '%{"a" => nil, "b" => [1, 2.5]}'),
        ([True, False, 'x"y#{z}\n'], '[true, false, "x\\"y\\#{z}\\n"]'),
        ({"a": {"b": {}}}, '%{"a" => %{"b" => %{}}}'),
    ],
)
def test_a_value_is_printed_as_an_elixir_term(value, expected):
    assert inspect(value) == expected


def test_long_values_are_cut():
    assert inspect(list(range(60))).endswith(", 49, ...]")
    assert inspect({str(number): 1 for number in range(60)}).count("=>") == 50
    assert len(inspect(["x" * 100_000] * 50)) < 5000


def test_deep_values_are_cut():
    deep = []
    for _ in range(900):
        deep = [deep]

    assert inspect(deep) == "[" * 20 + "..." + "]" * 20
