"""The single calls on the hot paths whose cost is watched: each is made ready once, and then called again and again."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actors.realtime.change_index import ChangeIndex, Route
from protocol.changes import pgoutput
from protocol.changes.comparing import ColumnFacts, make_equality, make_test
from protocol.changes.filters import Condition, Operator
from protocol.changes.model import Kind
from protocol.changes.patterns import NamePattern
from protocol.changes.predicates import Clause, Equality, Place, Predicate
from protocol.events import UserBroadcast
from protocol.phoenix.dialect import PhoenixDialect
from tests.support.changes import INT4, TEXT, make_change, make_table

NOTES = make_table({"id": INT4, "body": TEXT}, name="my_notes")
TOPIC = "realtime:bench"
#: A row of four columns, about 100 bytes, as pgoutput sends it.
VALUES = (b"1234567", b"x" * 60, b"12.50", b"2026-01-02 03:04:05+00")

Call = Callable[[], object]


def read_broadcast() -> Call:
    session = PhoenixDialect("2.0.0").session()
    session.receive(f'["1","1","{TOPIC}","phx_join",{{"config":{{}}}}]')
    session.settle(TOPIC, 1, joined=True)
    payload = '{"type":"broadcast","event":"bench","payload":{"filler":"' + "x" * 60 + '"}}'
    frame = f'["1","2","{TOPIC}","broadcast",{payload}]'
    assert session.receive(frame)
    return partial(session.receive, frame)


def encode_broadcast() -> Call:
    event = UserBroadcast("bench", b'{"filler":"' + b"x" * 60 + b'"}', is_binary=False)
    return partial(PhoenixDialect("2.0.0", binary=False).encode, event, TOPIC)


def decode_insert() -> Call:
    columns = b"".join(b"t" + len(value).to_bytes(4, "big") + value for value in VALUES)
    message = (
        b"I" + (16384).to_bytes(4, "big") + b"N" + len(VALUES).to_bytes(2, "big") + columns
    )
    assert isinstance(pgoutput.decode(message), pgoutput.Insert)
    return partial(pgoutput.decode, message)


def match_one_of(count: int) -> Call:
    index = ChangeIndex[int]()
    names = NamePattern("public"), NamePattern("my_notes")
    for number in range(count):
        equality = Equality("id", 1, INT4.oid, frozenset({str(number)}))
        equalities = {NOTES.relation.oid: equality}
        index.add(Route("*", *names, is_filtered=True, equalities=equalities), number)
    change = make_change(Kind.INSERT, NOTES, new=("0", "x"))
    assert index.match(change) == (0,)
    return partial(index.match, change)


def judge_an_integer() -> Call:
    column = ColumnFacts("id", 1, INT4.oid, INT4.oid, "b", True, True)
    condition = Condition("id", Operator.EQ, "123", is_negated=False)
    test, equality = (
        make_test(condition, column, ["123"]),
        make_equality(condition, column, ["123"]),
    )
    clause = Clause(condition, 1, INT4.oid, test, None, equality)
    predicate = Predicate(16384, (clause,), (Place(0, INT4.oid),))
    return partial(predicate.judge, ("124",))


CALLS: dict[str, Callable[[], Call]] = {
    "read a broadcast": read_broadcast,
    "encode a broadcast": encode_broadcast,
    "decode an insert": decode_insert,
    "match a change, 1 subscription": partial(match_one_of, 1),
    "match a change, 1000 subscriptions": partial(match_one_of, 1000),
    "judge an integer": judge_an_integer,
}


def main() -> None:
    name, times = sys.argv[1], int(sys.argv[2])
    call = CALLS[name]()
    for _ in range(times):
        call()


if __name__ == "__main__":
    main()
