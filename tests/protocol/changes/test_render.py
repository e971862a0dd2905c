from __future__ import annotations

import json

import pytest

from protocol.changes.model import Absent, Kind, ReplicaIdentity, TypeFacts
from protocol.changes.render import (
    MAX_DATA_BYTES,
    MAX_SMALL_BYTES,
    MAX_VIEWS,
    ChangeRenderer,
    shown_columns,
)
from tests.support.changes import INT4, TEXT, make_change, make_table

TAGS = TypeFacts(1009, "_text", element=TEXT)
COLUMNS = {"id": INT4, "body": TEXT, "tags": TAGS}
ALL = frozenset(COLUMNS)
#: 2026-01-02T03:04:05.123999Z
AT_US = 1_767_323_045_123_999
ABSENT = Absent.NOT_LOGGED


def rendered(change, columns=ALL, *, key_only=False):
    return json.loads(ChangeRenderer().render(change, columns, key_only=key_only))


def rendered_fault(change):
    return json.loads(ChangeRenderer().render_fault(change, "Error 401: Unauthorized"))


def test_a_fault_shows_nothing_of_the_row():
    table = make_table(COLUMNS)
    row = ("1", "secret", "{}")

    inserted = rendered_fault(make_change(Kind.INSERT, table, new=row, at_us=AT_US))
    updated = rendered_fault(make_change(Kind.UPDATE, table, new=row, old=row))
    deleted = rendered_fault(make_change(Kind.DELETE, table, old=row))

    assert inserted == {
        "type": "INSERT",
        "schema": "public",
        "table": "notes",
        "commit_timestamp": "2026-01-02T03:04:05.123Z",
        "errors": ["Error 401: Unauthorized"],
        "columns": [],
        "record": {},
    }
    assert (updated["record"], updated["old_record"]) == ({}, {})
    assert (deleted.get("record"), deleted["old_record"]) == (None, {})


@pytest.mark.capability("M5-004", "M5-005", "M5-008", "M5-073")
def test_an_insert_has_the_shape_of_the_specification():
    change = make_change(Kind.INSERT, make_table(COLUMNS), new=("1", "a", "{x}"), at_us=AT_US)

    assert ChangeRenderer().render(change, ALL).decode() == (
        '{"type":"INSERT","schema":"public","table":"notes",'
        '"commit_timestamp":"2026-01-02T03:04:05.123Z","errors":null,'
        '"columns":[{"name":"id","type":"int4"},{"name":"body","type":"text"},'
        '{"name":"tags","type":"_text"}],'
        '"record":{"id":1,"body":"a","tags":["x"]}}'
    )


def test_a_timestamp_without_fraction_has_milliseconds_all_the_same():
    change = make_change(Kind.INSERT, make_table(COLUMNS), new=("1", "a", None))

    assert rendered(change)["commit_timestamp"] == "1970-01-01T00:00:00.000Z"


def test_an_update_has_both_records():
    change = make_change(
        Kind.UPDATE, make_table(COLUMNS), new=("1", None, None), old=("1", ABSENT, ABSENT)
    )

    assert rendered(change)["record"] == {"id": 1, "body": None, "tags": None}
    assert rendered(change)["old_record"] == {"id": 1}


@pytest.mark.capability("M5-006")
def test_a_delete_has_no_record():
    change = make_change(Kind.DELETE, make_table(COLUMNS), old=("1", ABSENT, ABSENT))

    assert "record" not in rendered(change)
    assert rendered(change)["old_record"] == {"id": 1}
    assert len(rendered(change)["columns"]) == 3


def test_a_value_that_was_not_sent_is_missing():
    change = make_change(
        Kind.UPDATE,
        make_table(COLUMNS),
        new=("1", Absent.UNCHANGED, "{}"),
        old=("1", ABSENT, ABSENT),
    )

    assert rendered(change)["record"] == {"id": 1, "tags": []}


def test_columns_that_may_not_be_seen_are_nowhere():
    change = make_change(
        Kind.UPDATE,
        make_table(COLUMNS, identity=ReplicaIdentity.FULL),
        new=("1", "secret", "{}"),
        old=("1", "secret", "{}"),
    )

    data = rendered(change, frozenset({"id", "tags", "nonsense"}))

    assert "secret" not in json.dumps(data)
    assert [column["name"] for column in data["columns"]] == ["id", "tags"]


def test_a_deleted_row_can_be_reduced_to_its_primary_key():
    table = make_table(COLUMNS, identity=ReplicaIdentity.FULL)
    change = make_change(Kind.DELETE, table, old=("1", "a", "{}"))

    assert rendered(change, key_only=True)["old_record"] == {"id": 1}
    assert rendered(change)["old_record"] == {"id": 1, "body": "a", "tags": []}


def test_the_primary_key_of_a_deleted_row_needs_the_privilege_too():
    table = make_table(COLUMNS, identity=ReplicaIdentity.FULL)
    change = make_change(Kind.DELETE, table, old=("1", "a", "{}"))

    assert rendered(change, frozenset({"body"}), key_only=True)["old_record"] == {}


@pytest.mark.capability("M5-007")
def test_what_is_too_large_is_left_with_its_small_values():
    columns = {"id": INT4, "body": TEXT, "label": TEXT, "nothing": TEXT}
    table = make_table(columns, identity=ReplicaIdentity.FULL)
    label = "x" * (MAX_SMALL_BYTES - 2)
    new = ("1", "x" * MAX_DATA_BYTES, label, None)
    old = ("1", "small", label + "x", None)

    data = rendered(make_change(Kind.UPDATE, table, new=new, old=old), frozenset(columns))

    assert data["errors"] == ["Error 413: Payload Too Large"]
    assert data["record"] == {"id": 1, "label": label}
    assert data["old_record"] == {"id": 1, "body": "small"}
    assert [column["name"] for column in data["columns"]] == list(columns)


def test_a_large_value_that_is_not_shown_does_no_harm():
    change = make_change(
        Kind.INSERT, make_table(COLUMNS), new=("1", "x" * MAX_DATA_BYTES, None)
    )

    data = rendered(change, frozenset({"id", "tags"}))

    assert data["errors"] is None
    assert data["record"] == {"id": 1, "tags": None}


def test_the_largest_data_are_whole():
    table = make_table(COLUMNS)
    empty = ChangeRenderer().render(make_change(Kind.INSERT, table, new=("1", "", None)), ALL)
    room = MAX_DATA_BYTES - len(empty)

    def errors_with(size):
        change = make_change(Kind.INSERT, table, new=("1", "x" * size, None))
        return rendered(change)["errors"]

    assert errors_with(room) is None
    assert errors_with(room + 1) == ["Error 413: Payload Too Large"]


def test_names_are_escaped():
    table = make_table({'i"d': INT4}, name='no"tes', key=('i"d',))
    change = make_change(Kind.INSERT, table, new=("1",))

    assert rendered(change, frozenset({'i"d'}))["record"] == {'i"d': 1}
    assert rendered(change)["table"] == 'no"tes'


def test_one_renderer_keeps_views_apart():
    renderer = ChangeRenderer()
    table, other = make_table(COLUMNS), make_table({"id": TEXT})
    change = make_change(Kind.INSERT, table, new=("1", "a", None))

    assert json.loads(renderer.render(change, ALL))["record"]["body"] == "a"
    assert json.loads(renderer.render(change, frozenset({"id"})))["record"] == {"id": 1}
    change = make_change(Kind.INSERT, other, new=("1",))
    assert json.loads(renderer.render(change, ALL))["record"] == {"id": "1"}


def test_more_views_than_are_remembered_do_no_harm():
    renderer = ChangeRenderer()
    change = make_change(Kind.INSERT, make_table(COLUMNS), new=("1", "a", None))

    outcomes = {
        renderer.render(change, frozenset({"id", f"column {number}"}))
        for number in range(MAX_VIEWS + 10)
    }

    assert len(outcomes) == 1


def test_a_selection_is_cut_to_what_is_visible_and_keeps_the_primary_key():
    table = make_table(COLUMNS)

    assert shown_columns(table, ALL, None) == ALL
    assert shown_columns(table, ALL, ("body",)) == {"id", "body"}
    assert shown_columns(table, frozenset({"body", "tags"}), ("body",)) == {"body"}
