"""The router and the index of a channel: what does a change cost as subscriptions grow, of which one wants it?

Prints the processor time of one `match`, beside that of a scan of all subscriptions, and exits with 1 beyond the goal.
No server and no sockets; run it pinned to one core: `taskset -c 0 python bench/micro/router.py`.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actors.realtime.change_index import ChangeIndex, Route
from protocol.changes.model import Change, Kind
from protocol.changes.patterns import NamePattern
from protocol.changes.predicates import Equality
from tests.support.changes import INT4, TEXT, make_change, make_table

COUNTS = (1, 10, 100, 1_000, 10_000, 100_000)
#: The most that a change may cost with the most subscriptions, compared with one: flat within 20 %.
GOAL = 1.2
ROUNDS = 7
#: With a wildcard in its name, as most tables have one.
NOTES = make_table({"id": INT4, "body": TEXT}, name="my_notes")
NAMES = NamePattern("public"), NamePattern("my_notes")


def wanting(number: int) -> Route:
    equality = Equality("id", 1, INT4.oid, frozenset({str(number)}))
    return Route("*", *NAMES, is_filtered=True, equalities={NOTES.relation.oid: equality})


def scan(entered: Sequence[tuple[Route, int]], change: Change) -> tuple[int, ...]:
    """Return who wants the change, by looking at everybody."""
    relation = change.table.relation
    found = []
    for route, target in entered:
        if route.kind in ("*", change.kind.value) and route.covers(relation):
            equality = route.equalities[relation.oid]
            assert change.new is not None
            if change.new[equality.column_number - 1] in equality.texts:
                found.append(target)
    return tuple(found)


def microseconds(function: Callable[[], object], times: int) -> float:
    """Return the processor time of one call, the median of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(times):
            function()
        rounds.append((time.process_time_ns() - started) / times / 1000)
    return statistics.median(rounds)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.parse_args()
    change = make_change(Kind.INSERT, NOTES, new=("0", "x"))
    matched: dict[int, float] = {}
    print("subscriptions   match us   scan us   subscribe us   leave us")
    for count in COUNTS:
        index = ChangeIndex[int]()
        entered = [(wanting(number), number) for number in range(count)]
        index.match(change)
        started = time.process_time_ns()
        for entry in entered:
            index.add(*entry)
        subscribe_us = (time.process_time_ns() - started) / count / 1000
        assert index.match(change) == scan(entered, change) == (0,)
        matched[count] = microseconds(partial(index.match, change), 20_000)
        scan_us = microseconds(partial(scan, entered, change), max(1, 20_000 // count))
        started = time.process_time_ns()
        for entry in entered:
            index.remove(*entry)
        leave_us = (time.process_time_ns() - started) / count / 1000
        print(
            f"{count:13} {matched[count]:10.2f} {scan_us:9.2f} {subscribe_us:14.2f} {leave_us:10.2f}"
        )
    ratio = max(matched.values()) / matched[1]
    print(f"the dearest costs {ratio:.2f} times one subscription; the goal is at most {GOAL}")
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
