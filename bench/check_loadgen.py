"""Check the load generator against servers that cut, join, lose, repeat or refuse.

A benchmark that miscounts is worse than none, so every way of miscounting has a server here that provokes it.
Ends with status 1 when the load generator misjudges one of them.
"""

import itertools
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from socket import SocketIO

from attrs import frozen
from generator import Client, compile_load_generator
from peers.catalogue import delivered_text

SUBSCRIBERS = 3
FAULTY_PUBLISH = 5
ENDING_S = 10.0
UPGRADE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
PING = b"\x89\x00"
CLOSE = b"\x88\x02\x03\xe8"


def encode_text(text: bytes) -> bytes:
    if len(text) < 126:
        return bytes((0x81, len(text))) + text
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


class MisbehavingServer:
    """Takes SUBSCRIBERS connections, the first of which publishes, and delivers as it is told to.

    `deliver` gets the server, the frame to deliver and the number of the publish.
    """

    def __init__(self, deliver: Callable[["MisbehavingServer", bytes, int], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.deliver = deliver
        self.subscribers: list[socket.socket] = []

    def run(self) -> None:
        try:
            for _ in range(SUBSCRIBERS):
                self.subscribers.append(self.welcome())
            with self.subscribers[0].makefile("rb") as publisher:
                for number in itertools.count():
                    self.deliver(self, encode_text(read_text(publisher)), number)
        except (OSError, EOFError):
            pass  # the load generator has ended
        for subscriber in (*self.subscribers, self.listener):
            subscriber.close()

    def welcome(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb", buffering=0) as stream:
            while stream.readline() != b"\r\n":
                pass
            connection.sendall(UPGRADE)
            connection.sendall(encode_text(read_text(stream)))
        return connection

    def send_all(self, data: bytes) -> None:
        for subscriber in self.subscribers:
            subscriber.sendall(data)


def read_text(stream: BufferedReader | SocketIO) -> bytes:
    head = stream.read(2)
    if len(head) < 2:
        raise EOFError
    length = int(head[1] & 0x7F)
    if length == 126:
        length = int.from_bytes(stream.read(2), "big")
    mask = stream.read(4)
    masked = stream.read(length)
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))


def cut_into_bytes(server: MisbehavingServer, frame: bytes, _number: int) -> None:
    for byte in frame:
        server.send_all(bytes((byte,)))


def crowd(server: MisbehavingServer, frame: bytes, _number: int) -> None:
    server.send_all(PING + encode_text(b"something else") + frame + PING)


def join_with_another(server: MisbehavingServer, frame: bytes, _number: int) -> None:
    another = encode_text(b"something else")
    # The first send holds a whole frame and the start of the next one.
    server.send_all(frame + another[:9])
    server.send_all(another[9:])


def lose_one(server: MisbehavingServer, frame: bytes, number: int) -> None:
    for subscriber in server.subscribers[number == FAULTY_PUBLISH :]:
        subscriber.sendall(frame)


def repeat_one(server: MisbehavingServer, frame: bytes, number: int) -> None:
    server.send_all(frame * (1 + (number == FAULTY_PUBLISH)))


def fall_silent(server: MisbehavingServer, frame: bytes, number: int) -> None:
    if number < FAULTY_PUBLISH:
        server.send_all(frame)


def close_one(server: MisbehavingServer, frame: bytes, number: int) -> None:
    server.send_all(CLOSE if number == FAULTY_PUBLISH else frame)


def fragment_one(server: MisbehavingServer, frame: bytes, number: int) -> None:
    server.send_all(b"\x01" + frame[1:] if number == FAULTY_PUBLISH else frame)


@frozen
class Case:
    """What a server does and what the load generator must say: the text of its failure, or None."""

    deliver: Callable[[MisbehavingServer, bytes, int], None]
    failure: str | None = None
    outstanding: int = 2
    join_reply: str = "ok"


CASES = (
    Case(cut_into_bytes),
    Case(crowd),
    Case(join_with_another),
    Case(lose_one, failure="delivery 6 where 5 was due"),
    Case(repeat_one, failure="delivery 5 where 6 was due"),
    Case(lose_one, failure="out of time: 5 of 6", outstanding=1),
    Case(fall_silent, failure="out of time: 5 of 7"),
    Case(close_one, failure="the server closed connection"),
    Case(fragment_one, failure="a fragmented or extended frame"),
    Case(
        crowd,
        failure="only 0 of 3 connections joined",
        join_reply="something the server does not say",
    ),
)


def run_case(binary: Path, case: Case) -> str | None:
    """Return what the load generator got wrong, None when it was right."""
    server = MisbehavingServer(case.deliver)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    options = {
        "port": server.listener.getsockname()[1],
        "join-reply": case.join_reply,
        "connections": SUBSCRIBERS,
        "outstanding": case.outstanding,
        "measure": 0.1,
        "deadline": 1,
        "server-process": os.getpid(),
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(Client("/", ("ok",), (delivered_text(175),)).lines())
        file.flush()
        finished = subprocess.run(
            [str(binary), f"--clients={file.name}", *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    thread.join(ENDING_S)
    if case.failure is not None:
        expected = finished.returncode == 1 and case.failure in finished.stderr
        return None if expected else f"wanted {case.failure!r}, got {finished}"
    if finished.returncode != 0:
        return finished.stderr
    result = json.loads(finished.stdout)
    counted = result["deliveries"] == result["publishes"] * SUBSCRIBERS > 0
    return None if counted else f"miscounted: {result}"


def main() -> None:
    binary = compile_load_generator("fanout")
    problems = 0
    for case in CASES:
        problem = run_case(binary, case)
        problems += problem is not None
        print(f"{case.deliver.__name__:18}{case.failure or 'counted'!s:45}{problem or 'right'}")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
