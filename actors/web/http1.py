"""HTTP/1.1 on one connection: heads and bodies in, responses out, one request after the other.

The only file that imports h11, which parses, frames and knows what may follow what.
Used by `exchange.py`, which decides who answers, and by `asgi.py`, which lets an application answer.

**Invariants**
- At most one head and one read of 64 KiB are held: nothing is read ahead while a request is being answered,
  save to notice that the client left.
- Every wait for the client has a limit (`HttpOptions`).

**Source**: RFC 9112, sections 2.2, 6 and 9.3, read 2026-11-21.
"""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import h11
import trio
from attrs import frozen

from actors.web.transport import RECEIVE_BYTES, send_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors.web.options import HttpOptions
    from actors.web.transport import Transport

Headers = tuple[tuple[bytes, bytes], ...]

_CLOSE: Final = (b"connection", b"close")
#: For answers that no application gives: a browser shows its page none without this, not even the status.
ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")


class RequestRefused(Exception):
    """The request cannot be served and the connection not be used any more; the client's fault."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@frozen
class Head:
    """The head of a request; header names are in lower case, `path` is percent-decoded, `query` is not.

    In `values` several of one name are joined by commas.
    """

    method: str
    http_version: str
    raw_path: bytes
    path: str
    query: bytes
    headers: Headers
    values: Mapping[bytes, bytes]

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, several of one name joined by commas, or None."""
        value = self.values.get(name)
        return None if value is None else value.decode("latin-1")


class HttpWire:
    """See the module's text; used by one task, save for `finish`."""

    def __init__(self, transport: Transport, options: HttpOptions) -> None:
        self._transport = transport
        self._options = options
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=options.max_head_bytes)
        self._idling = trio.CancelScope()
        self._is_first = True
        self._is_last = False
        self._is_head_request = False
        self._body_bytes = 0
        self._body_deadline: float | None = None

    @property
    def early(self) -> bytes:
        """What was read beyond the current request."""
        return self._h11.trailing_data[0]

    @property
    def may_respond(self) -> bool:
        """Whether no response to the current request was begun."""
        return self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}

    def finish(self) -> None:
        """Let the current request be the last one; if there is none, end."""
        self._is_last = True
        self._idling.cancel()

    async def read_head(self) -> Head | None:
        """Wait for the next request; None when there will be none.

        Raises:
            RequestRefused: with 400, 408, 431 or 501.
        """
        if not self._is_first and not self.early and not await self._wait_for_first_byte():
            return None
        self._is_first = False
        # What has come already costs no limit to its waiting.
        received = len(self.early) or self._receive_nowait()
        event = self._next_event()
        if event is not h11.NEED_DATA:
            return self._take_head(event, received)
        with trio.move_on_after(self._options.head_within_s):
            return await self._wait_for_head(received)
        raise RequestRefused(HTTPStatus.REQUEST_TIMEOUT)

    async def read_body(self) -> bytes:
        """Wait for a piece of the body; empty at its end.

        Raises:
            RequestRefused: with 400, 408 or 413.
            ConnectionResetError: the client left in the middle of it.
        """
        data = self._body_nowait()
        if data == b"":
            return data
        if self._body_deadline is None:
            self._body_deadline = trio.current_time() + self._options.body_within_s
        if data is not None:
            return data
        with trio.CancelScope(deadline=self._body_deadline):
            return await self._wait_for_body()
        raise RequestRefused(HTTPStatus.REQUEST_TIMEOUT)

    async def start_response(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head of the response.

        Raises:
            OSError: the client left, or reads too slowly; so for all that sends.
            h11.LocalProtocolError: the headers or what is sent contradict HTTP; a bug of the application.
        """
        fields = [(b"date", formatdate(usegmt=True).encode()), *headers]
        if self._is_last:
            fields.append(_CLOSE)
        # HTTP/1.1 may go without a phrase, but stock clients show it when a refusal has no text of its own.
        phrase = HTTPStatus(status).phrase.encode()
        await self._send(h11.Response(status_code=status, reason=phrase, headers=fields))

    async def send_body(self, data: bytes) -> None:
        """Send a piece of the response's body; dropped when the request was a HEAD."""
        if data and not self._is_head_request:
            await self._send(h11.Data(data=data))

    async def end_response(self) -> None:
        """Send the end of the response."""
        await self._send(h11.EndOfMessage())

    async def respond(
        self, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Send a whole response."""
        size = (b"content-length", str(len(body)).encode())
        await self.start_response(status, [size, *headers])
        await self.send_body(body)
        await self.end_response()

    async def next_cycle(self) -> bool:
        """Make ready for the next request; False if the connection cannot be used any more."""
        if self._h11.they_are_waiting_for_100_continue:
            return False
        while self._h11.their_state is h11.SEND_BODY and await self.read_body():
            pass
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._body_bytes = 0
        self._body_deadline = None
        return True

    async def wait_gone(self) -> None:
        """Wait until the client closes its side."""
        while await self._receive():
            if len(self.early) >= RECEIVE_BYTES:
                await trio.sleep_forever()

    async def _wait_for_first_byte(self) -> bool:
        self._idling = trio.CancelScope(
            deadline=trio.current_time() + self._options.keep_alive_s
        )
        if not self._is_last:
            with self._idling:
                return bool(await self._receive())
        return False

    async def _wait_for_head(self, received: int) -> Head | None:
        """Wait for the rest of the head of which so much was received."""
        event: object = h11.NEED_DATA
        while event is h11.NEED_DATA:
            received += await self._receive()
            event = self._next_event()
        return self._take_head(event, received)

    def _take_head(self, event: object, received: int) -> Head | None:
        if not isinstance(event, h11.Request):
            return None
        # h11 only limits what is incomplete, so a big head in one read would pass.
        most = self._options.max_head_bytes
        if received > most and received - len(self.early) > most:
            raise RequestRefused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self._is_head_request = event.method == b"HEAD"
        head = _head(event)
        self._refuse_declared_body(head)
        return head

    async def _wait_for_body(self) -> bytes:
        if self._h11.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while (data := self._body_nowait()) is None:
            if not await self._receive():
                raise ConnectionResetError
        return data

    def _body_nowait(self) -> bytes | None:
        """Return the next piece of the body that was received, empty at its end; None if it has to be waited for."""
        while self._h11.their_state is h11.SEND_BODY:
            if self._h11.they_are_waiting_for_100_continue:
                return None
            event = self._next_event()
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Data):
                self._body_bytes += len(event.data)
                if self._body_bytes > self._options.max_body_bytes:
                    raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return bytes(event.data)
        return b""

    def _refuse_declared_body(self, head: Head) -> None:
        # Of several that say the same h11 leaves one.
        size = head.values.get(b"content-length")
        if size is not None and int(size) > self._options.max_body_bytes:
            raise RequestRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def _next_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise RequestRefused(error.error_status_hint) from None

    def _receive_nowait(self) -> int:
        """Take what has come, and return how many bytes that was; none at the end."""
        data = self._transport.receive_nowait()
        if data is None:
            return 0
        self._h11.receive_data(data)
        return len(data)

    async def _receive(self) -> int:
        data = await self._transport.receive_some()
        self._h11.receive_data(data)
        return len(data)

    async def _send(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            await send_all(self._transport, data, within_s=self._options.write_within_s)


def _head(request: h11.Request) -> Head:
    raw_path, _, query = _origin_form(request.target).partition(b"?")
    headers = tuple(request.headers)
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        values[name] = b"%b, %b" % (values[name], value) if name in values else value
    return Head(
        method=request.method.decode("ascii"),
        http_version=request.http_version.decode("ascii"),
        raw_path=raw_path,
        path=unquote(raw_path),
        query=query,
        headers=headers,
        values=values,
    )


def _origin_form(target: bytes) -> bytes:
    """Return the target without scheme and authority, which a proxy may put before it."""
    if target.startswith((b"http://", b"https://")):
        return b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return target
