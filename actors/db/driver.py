"""Let psycopg wait with trio: connections for queries, and the COPY BOTH mode that replication speaks.

psycopg does its work in generators that yield whenever the socket would block; everything else of it is sans-IO.
So a connection for trio needs its own `wait`, `close`, `cancel_safe`, a lock of trio's, and its own way to connect.
Called by `pool` and `replication`; the only file that relies on how psycopg is built inside.

**Invariants**
- The names that psycopg does not document are used here and nowhere else;
  `tests/db/test_driver.py` holds a contract test for each, and the version is pinned below the next minor one.
- A connection whose query was cancelled in flight is closed: its state is unknown (`closed` tells).
- At most one task waits to read from a connection.

**Source**: psycopg 3.3.9, `waiting.py`, `generators.py` and `connection_async.py`, read 2026-11-21.
"""

from __future__ import annotations

import math
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from psycopg import AsyncConnection, errors, generators, pq
from psycopg.conninfo import conninfo_attempts, conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg.waiting import Ready, Wait

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from psycopg.abc import PQGen, PQGenConn
    from psycopg.pq.abc import PGconn

#: What a conninfo need not say. `connect_timeout` is for each address, in seconds.
#: The rest finds a server that fell silent within about half a minute, where the system's own limits are hours.
DEFAULTS = {
    "application_name": "troupe",
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}

T = TypeVar("T")


class TrioConnection(AsyncConnection[TupleRow]):
    """A psycopg connection whose methods may be awaited under trio.

    Queries, transactions and COPY work as psycopg documents them.
    Iterate over `notifies()` inside `contextlib.aclosing` only, else its lock stays taken.
    """

    def __init__(self, pgconn: PGconn, *args: Any) -> None:
        super().__init__(pgconn, *args)
        self.lock = trio.Lock()  # type: ignore[assignment]  # psycopg only ever enters and leaves it

    @override
    async def wait(
        self, gen: PQGen[T], interval: float = math.inf, timeout: float | None = None
    ) -> T:
        """Run one operation of the connection to its end.

        Cancelled in flight, the connection is closed; cancelled while idle (`notifies`), it can be used on.
        Deadlines are the caller's, by cancel scopes: `timeout` is refused and `interval` has no meaning here.
        """
        if timeout is not None:
            raise errors.NotSupportedError("use a cancel scope of trio in place of a timeout")
        fileno = self.pgconn.socket
        try:
            return await _run(_with_socket(gen, fileno))
        except trio.Cancelled:
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.discard()
            raise

    @override
    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to cancel what runs on this connection."""
        if self.closed:
            return
        request = self.pgconn.cancel_conn()
        request.start()
        try:
            with trio.fail_after(timeout):
                await _run(generators.cancel(request))
        except trio.TooSlowError:
            raise errors.CancellationTimeout("cancellation timeout expired") from None

    @override
    async def close(self) -> None:
        """Close the connection; what waits on it gets an `OperationalError`."""
        self.discard()

    @override
    async def __aexit__(self, *_exc_info: object) -> None:
        """Close the connection; a transaction begun by hand is rolled back by that."""
        self.discard()

    def discard(self) -> None:
        """Close the connection at once, whatever state it is in; never waits."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.pgconn.socket)
            self.pgconn.finish()

    def is_idle(self) -> bool:
        """Whether the next query may be sent: connected, in no transaction, and the server has not hung up."""
        if self.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            return False
        if self._pipeline is not None or self.pgconn.pipeline_status != pq.PipelineStatus.OFF:
            # Cancelled on its way out of a pipeline.
            return False
        try:
            # The server's farewell comes before the end of the stream, so one look is not enough.
            while _poll(self.pgconn.socket, Wait.R):
                self.pgconn.consume_input()
        except errors.OperationalError:
            self.discard()
        return not self.closed


async def connect(conninfo: str, **options: str) -> TrioConnection:
    """Open a connection in autocommit mode, trying every address of the server in turn.

    `options` are further connection parameters of libpq, which win over those in `conninfo` and `DEFAULTS`.

    Raises:
        psycopg.OperationalError: no address let us in.
    """
    parameters = DEFAULTS | conninfo_to_dict(conninfo, **options)
    timeout_s = float(parameters["connect_timeout"] or DEFAULTS["connect_timeout"])
    # Looking up a host name blocks; there is no other way than a thread.
    attempts = await trio.to_thread.run_sync(
        conninfo_attempts, parameters, abandon_on_cancel=True
    )
    failure: errors.Error | None = None
    for attempt in attempts:
        try:
            with trio.fail_after(timeout_s):
                pgconn = await _run(generators.connect(make_conninfo("", **attempt)))
        except trio.TooSlowError:
            failure = errors.ConnectionTimeout("connection timeout expired")
        except errors.OperationalError as error:
            failure = error
        else:
            connection = TrioConnection(pgconn)
            await connection.set_autocommit(True)
            return connection
    raise failure or errors.OperationalError("the connection parameters name no server")


class CopyBoth:
    """A connection in COPY BOTH mode, as `START_REPLICATION` leaves it: messages in both directions.

    One task receives; another may send meanwhile.
    """

    def __init__(self, connection: TrioConnection) -> None:
        self._pgconn = connection.pgconn

    @classmethod
    async def start(cls, connection: TrioConnection, command: str) -> Self:
        """Send `command` by the simple protocol and enter the mode.

        Raises:
            psycopg.Error: the server refused.
        """
        connection.pgconn.send_query(command.encode())
        results = await connection.wait(generators.execute(connection.pgconn))
        if results[-1].status != pq.ExecStatus.COPY_BOTH:
            raise errors.error_from_result(results[-1])
        return cls(connection)

    def receive_nowait(self) -> bytes | None:
        """Return the next message, or None if it has not arrived.

        Raises:
            psycopg.OperationalError: the connection is broken or closed.
            psycopg.Error: the server ended the mode; the error says why.
        """
        size_bytes, data = self._pgconn.get_copy_data(1)
        if size_bytes == 0:
            self._pgconn.consume_input()
            size_bytes, data = self._pgconn.get_copy_data(1)
        if size_bytes < 0:
            raise self._ending()
        return bytes(data) if size_bytes else None

    async def wait_readable(self) -> None:
        """Wait until `receive_nowait` may have something to say; may be cancelled without loss."""
        await _wait_socket(trio.lowlevel.wait_readable, self._pgconn.socket)

    async def send(self, data: bytes) -> None:
        """Send one message; waits only while the socket's buffer is full.

        Raises:
            psycopg.OperationalError: the connection is broken or closed.
        """
        self._pgconn.put_copy_data(data)
        while self._pgconn.flush():
            await _wait_socket(trio.lowlevel.wait_writable, self._pgconn.socket)

    def _ending(self) -> errors.Error:
        """Return why the mode ended; the server's last word is in the buffer, so this does not block."""
        result = self._pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            return errors.error_from_result(result)
        return errors.OperationalError("the server ended the stream")


async def _run(generator: PQGenConn[T]) -> T:
    """Run one of psycopg's generators to its end."""
    try:
        fileno, wait = next(generator)
        while True:
            fileno, wait = generator.send(await _wait_ready(fileno, wait))
    except StopIteration as end:
        value: T = end.value
        return value


def _with_socket(generator: PQGen[T], fileno: int) -> PQGenConn[T]:
    """Give the generator of an open connection the shape of one that connects: it names its socket each time."""
    try:
        wait = next(generator)
        while True:
            wait = generator.send((yield fileno, wait))
    except StopIteration as end:
        value: T = end.value
        return value


async def _wait_ready(fileno: int, wait: Wait) -> int:
    """Wait until the socket is ready for what `wait` asks; return for which of it, as psycopg counts (`Ready`)."""
    if wait == Wait.R:
        await _wait_socket(trio.lowlevel.wait_readable, fileno)
        return Ready.R
    # A socket to be written to is nearly always ready; asking first spares a turn of the loop.
    while not (ready := _poll(fileno, wait)):
        if wait == Wait.W:
            await _wait_socket(trio.lowlevel.wait_writable, fileno)
        else:
            await _wait_either(fileno)
    return ready


async def _wait_either(fileno: int) -> None:
    """Wait until the socket is readable or writable."""
    async with trio.open_nursery() as nursery:

        async def wait_first(direction: Callable[[int], Awaitable[None]]) -> None:
            # Closed meanwhile: let libpq say so.
            with suppress(OSError, trio.ClosedResourceError):
                await direction(fileno)
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait_first, trio.lowlevel.wait_readable)
        nursery.start_soon(wait_first, trio.lowlevel.wait_writable)


async def _wait_socket(direction: Callable[[int], Awaitable[None]], fileno: int) -> None:
    try:
        await direction(fileno)
    except (OSError, trio.ClosedResourceError):
        raise errors.OperationalError("the connection was closed") from None


def _poll(fileno: int, wait: Wait) -> int:
    """Return what the socket is ready for at this moment; an error counts as readable."""
    poll = select.poll()
    poll.register(
        fileno, (wait & Wait.R and select.POLLIN) | (wait & Wait.W and select.POLLOUT)
    )
    ready = 0
    for _, event in poll.poll(0):
        if event & ~select.POLLOUT:
            ready |= Ready.R
        if event & select.POLLOUT:
            ready |= Ready.W
    return ready
