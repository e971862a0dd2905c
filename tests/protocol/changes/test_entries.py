from __future__ import annotations

import json

import pytest

from protocol.changes.entries import InvalidEntry, read_entry
from protocol.errors import InvalidFilter
from protocol.phoenix.bindings import bind


def entry(**members):
    (binding,) = bind([json.dumps(members).encode()])
    return read_entry(binding)


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"schema": "s", "table": "t"}, ("s", "t")),
        ({"schema": "s"}, ("s", "*")),
        ({"schema": "*"}, ("*", "*")),
        ({"table": "t"}, ("public", "t")),
        ({"schema": None, "table": "t"}, ("public", "t")),
        ({"schema": "s", "table": ""}, ("s", "")),
    ],
)
def test_an_entry_is_for_the_tables_its_names_say(members, place):
    found = entry(**members)

    assert (found.schema, found.table) == place


@pytest.mark.parametrize("text", ["", "  "])
def test_a_blank_filter_is_none(text):
    assert entry(schema="s", table="t", filter=text).conditions == ()


@pytest.mark.parametrize("members", [{"schema": "s"}, {"schema": "*", "table": "t"}])
def test_columns_are_selected_of_one_table_only(members):
    with pytest.raises(InvalidEntry) as caught:
        entry(**members, select=["a"])

    assert caught.value.reason == (
        "Column selection is not supported for wildcard subscriptions."
        " Provide an explicit schema and table name."
    )


def test_what_is_wrong_with_a_filter_is_said():
    with pytest.raises(InvalidFilter) as caught:
        entry(schema="s", table="t", filter="undefined")

    assert caught.value.reason == 'Error parsing `filter` params: ["undefined"]'


def test_the_client_is_told_what_is_not_published():
    assert entry(event="insert", schema="public").unpublished() == (
        "Unable to subscribe to changes with given parameters. Please check Realtime is enabled"
        " for the given connect parameters:"
        " [event: INSERT, schema: public, table: *, filters: [], select: nil]"
    )


def test_the_client_is_told_what_postgres_said():
    asked = entry(schema="public", table="test", filter="notacolumn=eq.123", select=["a", "b"])

    assert asked.failed(
        "ERROR P0001 (raise_exception) invalid column for filter notacolumn"
    ) == (
        "Unable to subscribe to changes with given parameters."
        " An exception happened so please check your connect parameters: [event: *, schema: public,"
        ' table: test, filters: [{"notacolumn", "eq", "123", false}], select: ["a", "b"]].'
        " Exception: ERROR P0001 (raise_exception) invalid column for filter notacolumn"
    )
