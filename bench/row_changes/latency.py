"""How long from a write to one client, when nobody else wants anything?"""

import statistics
import time

import psycopg
from peers.catalogue import TROUPE_PATH
from subscriber import Subscriber

from row_changes.setting import Setting

INSERT = "insert into bench values (%s, %s, 12.50)"
BODY = "x" * 60


def measure_latency(setting: Setting) -> dict[str, float]:
    """Insert row after row, each when the one before has arrived, and time its way.

    From just before the statement is sent, so its execution is in it, until the subscriber's bytes are read.
    """
    from_insert, from_commit = [], []
    with (
        psycopg.connect(setting.database.conninfo(), autocommit=True) as connection,
        Subscriber(setting.server.port, TROUPE_PATH) as subscriber,
    ):
        subscriber.subscribe("bench")
        for number in range(setting.options.warmup + setting.options.inserts):
            began = time.perf_counter()
            connection.execute(INSERT, (number, BODY))
            committed = time.perf_counter()
            subscriber.wait_for(b'"id":%d,' % number)
            arrived = time.perf_counter()
            if number >= setting.options.warmup:
                from_insert.append((arrived - began) * 1000)
                from_commit.append((arrived - committed) * 1000)
            time.sleep(setting.options.pause)
    return {
        "latency_p50_ms": statistics.median(from_insert),
        "latency_p99_ms": statistics.quantiles(from_insert, n=100)[98],
        "latency_from_commit_p50_ms": statistics.median(from_commit),
        "latency_from_commit_p99_ms": statistics.quantiles(from_commit, n=100)[98],
    }
