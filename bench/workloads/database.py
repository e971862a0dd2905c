"""Broadcast from SQL: a statement sends to a topic, and every client of the topic receives; how fast, and at what cost?

Source: supabase.com/docs/guides/realtime/benchmarks, read 2026-11-21: 10 000 messages a second to 80 000 users,
with 46 ms at the median, 132 at the 95th and 159 at the 99th percentile, on a cluster.
"""

import multiprocessing
import time
from multiprocessing.synchronize import Event

import psycopg
from attrs import frozen
from generator import Client, Measured, judge, running_load_generator
from harness import RunFailed, running_server
from peers.catalogue import TOPIC, TROUPE_PATH, phoenix_join
from row_changes.setting import command, postgres

from workloads.place import MARGIN_S, Place, costs

SEND = "select realtime.send(jsonb_build_object('sent_ns', %s::text), 'bench', %s, false)"
SUB_TOPIC = TOPIC.removeprefix("realtime:")
FOLLOWED = "select true from pg_replication_slots where active"
STARTING_S = 30.0
#: After so long without any message, those that are missing are lost.
PATIENCE_S = 10.0


@frozen
class BroadcastFromSql:
    clients: int = 500
    per_s: int = 20
    seconds: float = 10.0
    unit: str = "delivery"

    @property
    def name(self) -> str:
        return f"{self.per_s} broadcasts/s from SQL to {self.clients} clients"

    @property
    def connections(self) -> int:
        return self.clients

    def measure(self, place: Place) -> Measured:
        count = int(self.per_s * self.seconds)
        expected = count * self.clients
        options = {
            "join-reply": '"ok"',
            "connections": self.clients,
            # As Postgres writes a jsonb, with a space.
            "marker": '"sent_ns": "',
            "expected": expected,
            "measure": PATIENCE_S,
        }
        client = Client(TROUPE_PATH, (phoenix_join(TOPIC, is_echoed=True),))
        with (
            postgres.running_server(fsync="on", synchronous_commit="on") as database,
            running_server(command(database), place.cores) as server,
            running_load_generator(
                "listen", [client], options, server, place.cores, MARGIN_S + self.seconds
            ) as generator,
        ):
            generator.wait_joined()
            fork = multiprocessing.get_context("fork")
            sent = fork.Event()
            arguments = (database.conninfo(), self.per_s, count, sent)
            writer = fork.Process(target=_write, args=arguments, daemon=True)
            writer.start()
            measured = generator.result()
            writer.join(STARTING_S)
        if not sent.is_set():
            raise RunFailed("not everything was sent")
        # Postgres and the writer use the load generator's core: that is no disturbance.
        judged = judge(measured) | {"disturbed": False}
        return costs(measured | judged, measured["counted"]) | {
            "delivered": measured["counted"] / expected
        }


def _write(conninfo: str, per_s: float, count: int, sent: Event) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while connection.execute(FOLLOWED).fetchone() is None:
            time.sleep(0.05)
        began = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number / per_s - time.monotonic()))
            connection.execute(SEND, (time.monotonic_ns(), SUB_TOPIC))
    sent.set()
