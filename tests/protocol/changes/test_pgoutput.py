"""`stream.hex` is what Postgres 15 sent for a handful of statements, one message per line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.changes.model import Absent, Column, Lsn, Relation, ReplicaIdentity
from protocol.changes.pgoutput import (
    Begin,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Origin,
    Truncate,
    TypeName,
    Update,
    decode,
)
from protocol.errors import MalformedChange

STREAM = [
    bytes.fromhex(line)
    for line in Path(__file__).with_name("stream.hex").read_text().splitlines()
]


def first(kind: type, number: int = 0):
    """Return a decoded message of the recorded stream."""
    return [message for message in map(decode, STREAM) if isinstance(message, kind)][number]


def test_begin_announces_the_commit_that_follows():
    begin, commit = first(Begin), first(Commit)

    assert begin.commit_lsn == commit.commit_lsn < commit.end_lsn
    assert begin.committed_at_us == commit.committed_at_us
    assert begin.committed_at_us // 1_000_000 // 86400 // 365 == 56


@pytest.mark.capability("M5-008", "M5-046", "M5-086")
def test_a_relation_names_its_columns_and_its_replica_identity():
    relation = first(Relation)

    assert (relation.schema, relation.name) == ("public", "notes")
    assert relation.replica_identity is ReplicaIdentity.DEFAULT
    assert relation.columns[:2] == (Column("id", 23, -1, True), Column("body", 25, -1, False))


def test_a_type_that_is_not_built_in_is_named():
    assert (first(TypeName).schema, first(TypeName).name) == ("public", "mood")


@pytest.mark.capability("M5-045")
def test_an_insert_has_text_values_and_nulls():
    assert first(Insert).new[:3] == ("1", 'a "b" é', "1.10")
    assert first(Insert, 1).new == ("2", None, None, None, None)


def test_an_update_that_keeps_its_key_has_no_old_row():
    assert first(Update).old is None


def test_an_update_of_the_key_says_the_old_key():
    update = first(Update, 1)

    assert update.is_key
    assert update.old[0] == "2"
    assert update.new[0] == "3"


def test_a_full_replica_identity_sends_the_whole_old_row():
    update = first(Update, 2)

    assert not update.is_key
    assert update.old[1:] == ("ok", "x" * 2100)
    assert update.new[1:] == ("sad", Absent.UNCHANGED)


def test_deletes_say_key_or_whole_row():
    assert first(Delete).is_key
    assert not first(Delete, 1).is_key


def test_truncate_names_its_relations():
    assert first(Truncate).relation_oids == (first(Relation).oid,)


def test_messages_say_whether_they_belong_to_a_transaction():
    assert first(LogicalMessage).prefix == "pre2"
    assert not first(LogicalMessage).is_transactional
    assert first(LogicalMessage, 1).content == b"content"
    assert first(LogicalMessage, 1).is_transactional


def test_an_origin_is_named():
    assert first(Origin) == Origin(Lsn(0), "elsewhere")


def test_a_relation_without_schema_belongs_to_the_catalog():
    assert decode(b"Y" + bytes(4) + b"\0" + b"int4\0") == TypeName(0, "pg_catalog", "int4")


@pytest.mark.parametrize("message", STREAM, ids=lambda message: chr(message[0]))
def test_every_truncation_is_malformed(message):
    for size in range(min(len(message), 300)):
        with pytest.raises(MalformedChange):
            decode(message[:size])


@pytest.mark.parametrize("message", STREAM, ids=lambda message: chr(message[0]))
def test_bytes_after_the_end_are_malformed(message):
    with pytest.raises(MalformedChange):
        decode(message + b"\0")


@pytest.mark.parametrize("kind", "SEcAbPKrpkw?")
def test_messages_of_other_protocol_versions_are_malformed(kind):
    with pytest.raises(MalformedChange):
        decode(kind.encode() + bytes(40))


def test_binary_values_are_malformed():
    with pytest.raises(MalformedChange):
        decode(b"I" + bytes(4) + b"N\0\1b\0\0\0\1x")


def decodes_or_is_malformed(data: bytes) -> None:
    with suppress(MalformedChange):
        decode(data)


@given(st.sampled_from("BCORYIUDTM"), st.binary(max_size=80))
def test_arbitrary_bytes_are_read_or_malformed(kind, body):
    decodes_or_is_malformed(body)
    decodes_or_is_malformed(kind.encode() + body)


@given(st.sampled_from(STREAM), st.data())
def test_damaged_messages_are_read_or_malformed(message, data):
    at = data.draw(st.integers(0, len(message)))
    until = data.draw(st.integers(at, min(len(message), at + 8)))
    decodes_or_is_malformed(message[:at] + data.draw(st.binary(max_size=8)) + message[until:])
