"""The acceptor: the actor that owns the port and the HTTP exchanges on it.

Truth: the listening socket. Rank 3, takes no messages.
After a crash the port is opened again; exchanges in flight are cut, WebSockets live on, since they are owned elsewhere.
Told to stop it closes the port, ends idle connections at once, and lets the exchanges in flight finish.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Never

import structlog
import trio

from actors.core.signals import Stopping
from actors.web.exchange import HttpConnection
from actors.web.tcp import SocketListener

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.inbox import Inbox
    from actors.web.endpoint import Site
    from actors.web.options import WebOptions
    from actors.web.outbox_cap import OutboxCap
    from actors.web.reactor import Sockets
    from actors.web.transport import Listener, Transport

log = structlog.get_logger()

#: The system, not the client, is at its limit; only waiting helps.
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
#: Seconds to wait then; as trio's own accept loop.
_PAUSE_S: Final = 0.1
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"connection: close\r\ncontent-length: 0\r\nretry-after: 5\r\naccess-control-allow-origin: *\r\n\r\n"
)


def listen(options: WebOptions, sockets: Sockets | None = None) -> Listener:
    """Open the port; with `sockets` the reactor reads what becomes a WebSocket.

    Raises:
        OSError: it is taken, or not ours to open.
    """
    return SocketListener(options.host, options.port, backlog=options.backlog, sockets=sockets)


class Acceptor:
    """See the module's text.

    `on_listening` is told the port whenever it was opened; `on_stopping` when it is about to be closed for good.
    """

    def __init__(
        self,
        site: Site,
        options: WebOptions,
        cap: OutboxCap,
        *,
        on_listening: Callable[[int], None] = lambda _port: None,
        on_stopping: Callable[[], None] = lambda: None,
        open_listener: Callable[[WebOptions], Listener] = listen,
    ) -> None:
        self._site = site
        self._options = options
        self._cap = cap
        self._on_listening = on_listening
        self._on_stopping = on_stopping
        self._open_listener = open_listener
        self._connections: set[HttpConnection] = set()

    async def run(self, inbox: Inbox[Never]) -> None:
        """Serve until told to stop."""
        listener = self._open()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._accept, listener, nursery)
                self._on_listening(listener.port)
                log.info("port.opened", port=listener.port)
                inbox.ready()
                async for signal in inbox:
                    if isinstance(signal, Stopping):
                        nursery.cancel_scope.deadline = signal.deadline
                        self._on_stopping()
                        break
                listener.close()
                for connection in self._connections:
                    connection.finish()
        finally:
            listener.close()

    def _open(self) -> Listener:
        try:
            return self._open_listener(self._options)
        except OSError as error:
            # The crash that follows says where, but not what: an operator has to read it here.
            log.error(  # noqa: TRY400  # the stack comes with the crash
                "port.unavailable",
                host=self._options.host,
                port=self._options.port,
                reason=error.strerror or str(error),
                advice="Free this address, or choose another by --host and --port.",
            )
            raise

    async def _accept(self, listener: Listener, nursery: trio.Nursery) -> None:
        is_exhausted = False
        while True:
            try:
                transport = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    if not is_exhausted:
                        log.warning("accept.paused", code=errno.errorcode[error.errno])
                    is_exhausted = True
                    await trio.sleep(_PAUSE_S)
                continue
            is_exhausted = False
            if listener.open_connections > self._options.max_connections:
                self._turn_away(transport)
            else:
                nursery.start_soon(self._serve, transport)

    def _turn_away(self, transport: Transport) -> None:
        with suppress(OSError):
            transport.send_some(_FULL)
        transport.close()

    async def _serve(self, transport: Transport) -> None:
        connection = HttpConnection(transport, self._site, self._options, self._cap)
        self._connections.add(connection)
        try:
            await connection.serve()
        except* Exception:  # one connection's bug must not take the others along
            log.exception("exchange.crashed", peer=transport.peer)
        finally:
            self._connections.discard(connection)
