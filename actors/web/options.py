"""What can be set about the port: one frozen value per part, every limit on by default.

Made by `actors.settings`, read by the parts that name them; nothing here reads the environment.
Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

from attrs import Factory, frozen

KIB = 1024
MIB = 1024 * KIB


@frozen
class OutboxOptions:
    """Limits of one outbox."""

    budget_bytes: int = MIB
    """A push that finds this much queued makes the connection a slow consumer (architecture decision 10)."""
    drain_within_s: float = 5.0
    """From a queued CLOSE frame to the abort of a socket that does not take it."""


@frozen
class WebSocketOptions:
    """Limits of one WebSocket."""

    handshake_within_s: float = 10.0
    """For the 101 to be written; also for the connection actor to take the socket over."""
    idle_s: float = 60.0
    """Without a byte from the client while one is waited for → CLOSE 1000 (spec 1.6)."""
    max_message_bytes: int = 5_000_000
    """More → CLOSE 1009 (spec 1.5)."""
    linger_s: float = 1.0
    """For the peer to answer a CLOSE that ended the connection before the socket is closed."""
    outbox: OutboxOptions = Factory(OutboxOptions)


@frozen
class HttpOptions:
    """Limits of one HTTP exchange."""

    max_head_bytes: int = 16 * KIB
    """More → 431; h11 and Tomcat 8 to 16 KiB, nginx 4 x 8, node 16."""
    head_within_s: float = 10.0
    """From the first byte of a request (or the accept) to the end of its head → 408."""
    keep_alive_s: float = 75.0
    """Between two requests; then the connection is closed without a word. As nginx."""
    max_body_bytes: int = 8_000_000
    """More, declared or counted → 413. As Plug's parsers."""
    body_within_s: float = 60.0
    """From the end of the head to the end of the body → 408."""
    write_within_s: float = 30.0
    """For the client to make room in the socket; then the connection is aborted."""
    linger_s: float = 1.0
    """For the client to read a refusal that was sent before its request was read."""


@frozen
class WebOptions:
    """The port and everything behind it."""

    host: str = "0.0.0.0"  # noqa: S104  # a server is to be reached; the proxy in front decides from where
    port: int = 8080
    """0 lets the system choose; `Acceptor.port` tells."""
    backlog: int = 1024
    """Connections the kernel keeps until they are accepted; it cuts this to `net.core.somaxconn`."""
    max_connections: int = 16_384
    """HTTP and WebSocket together; one more is answered 503."""
    http: HttpOptions = Factory(HttpOptions)
    websocket: WebSocketOptions = Factory(WebSocketOptions)
