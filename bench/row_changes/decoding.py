"""How many rows of a recorded stream are decoded in a second, on one core and without a server around it?"""

import struct
import time

import psycopg
import trio

# The parts of the project that are measured; the setting makes them importable.
from actors.db.catalog import Catalog
from actors.db.pool import Pool
from protocol.changes import copyboth, pgoutput
from protocol.changes.model import Relation, Table
from protocol.changes.transactions import TransactionReader
from row_changes.setting import postgres

INSERT = "insert into bench select -n, %s, 12.50 from generate_series(1, %s) n"
BODY = "x" * 60
WAL_DATA_HEADER = struct.pack("!cqqq", b"w", 0, 0, 0)
SAMPLES = 5


def measure_decoding(database: postgres.PostgresServer, rows: int) -> dict[str, float]:
    """Decode one real stream some times, and take the best of them."""
    messages, described = record(database, rows)
    took_s = min(_timed(messages, described) for _ in range(SAMPLES))
    return {"decoded_rows_per_s": rows / took_s}


def record(
    database: postgres.PostgresServer, rows: int
) -> tuple[list[bytes], dict[int, Table]]:
    """Insert rows, and return the messages that logical replication makes of them."""
    with psycopg.connect(database.conninfo(), autocommit=True) as connection:
        connection.execute("select pg_create_logical_replication_slot('bench', 'pgoutput')")
        connection.execute(INSERT, (BODY, rows))
        found = connection.execute(
            "select data from pg_logical_slot_get_binary_changes("
            "'bench', null, null, 'proto_version', '1', 'publication_names', 'supabase_realtime')"
        )
        messages = [WAL_DATA_HEADER + bytes(data) for (data,) in found]
        connection.execute("select pg_drop_replication_slot('bench')")
    return messages, _describe(database, messages)


def decode(messages: list[bytes], described: dict[int, Table]) -> None:
    """Do with each message what the stream does."""
    reader = TransactionReader()
    for data in messages:
        message = copyboth.decode(data)
        assert isinstance(message, copyboth.WalData)
        decoded = pgoutput.decode(message.payload)
        if reader.read(decoded) is None and isinstance(decoded, Relation):
            reader.define_table(described[decoded.oid])


def _describe(database: postgres.PostgresServer, messages: list[bytes]) -> dict[int, Table]:
    """Look up the tables of a recorded stream, as the server would."""
    decoded = [pgoutput.decode(data[len(WAL_DATA_HEADER) :]) for data in messages]
    relations = [message for message in decoded if isinstance(message, Relation)]

    async def ask() -> dict[int, Table]:
        pool = Pool(database.conninfo())
        try:
            return {
                relation.oid: await Catalog(pool).describe(relation) for relation in relations
            }
        finally:
            pool.close()

    return trio.run(ask)


def _timed(messages: list[bytes], described: dict[int, Table]) -> float:
    began = time.perf_counter()
    decode(messages, described)
    return time.perf_counter() - began
