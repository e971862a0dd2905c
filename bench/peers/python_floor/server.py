"""The Python floor: the least a Python process can do that speaks Phoenix frames.

One level-triggered epoll loop, one `socket.send` of shared bytes per delivery, no tasks, no checks, no limits.
What Troupe costs above it is the price of its structure; what it costs above the C floor is Python's.
Serves the load generator only: vsn 2.0.0, one topic, whole frames, and a full socket ends the program.
"""

import base64
import contextlib
import hashlib
import json
import select
import socket
import sys

ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
RECEIVE_SIZE = 1 << 16


def encode_text(text):
    """Return the server frame (unmasked) of a text of up to 65 535 bytes."""
    if len(text) < 126:
        return bytes((0x81, len(text))) + text
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


def split_frames(data):
    """Return the unmasked payloads of the whole client frames in `data`, and the rest."""
    payloads = []
    while len(data) >= 2:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        end = start + 4 + length
        if len(data) < end:
            break
        mask = data[start : start + 4] * (length // 4 + 1)
        masked = int.from_bytes(data[start + 4 : end], "big")
        payloads.append((masked ^ int.from_bytes(mask[:length], "big")).to_bytes(length, "big"))
        data = data[end:]
    return payloads, data


class Server:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.sockets = {}
        self.pending = {}
        self.sends = {}

    def run(self):
        host, port = self.listener.getsockname()
        print(json.dumps({"event": "node.ready", "host": host, "port": port}), file=sys.stderr)
        while True:
            for descriptor, _ in self.epoll.poll():
                if descriptor == self.listener.fileno():
                    self.accept()
                else:
                    self.receive(descriptor)

    def accept(self):
        with contextlib.suppress(BlockingIOError):
            accepted, _ = self.listener.accept()
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets[accepted.fileno()] = accepted
            self.epoll.register(accepted, select.EPOLLIN)

    def receive(self, descriptor):
        try:
            data = self.sockets[descriptor].recv(RECEIVE_SIZE)
        except ConnectionError:
            data = b""
        if not data:
            self.sends.pop(descriptor, None)
            self.pending.pop(descriptor, None)
            self.sockets.pop(descriptor).close()
        elif descriptor not in self.pending:
            self.upgrade(descriptor, data)
        else:
            payloads, self.pending[descriptor] = split_frames(self.pending[descriptor] + data)
            for payload in payloads:
                self.handle(descriptor, payload)

    def upgrade(self, descriptor, head):
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT_SUFFIX).digest())
        self.pending[descriptor] = b""
        self.sockets[descriptor].send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def handle(self, descriptor, payload):
        join_ref, ref, topic, event, content = json.loads(payload)
        if event == "phx_join":
            self.sends[descriptor] = self.sockets[descriptor].send
            reply = [join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]
            self.sends[descriptor](encode_text(json.dumps(reply).encode()))
            return
        delivery = [None, None, topic, event, content]
        frame = encode_text(json.dumps(delivery, separators=(",", ":")).encode())
        for send in self.sends.values():
            send(frame)


if __name__ == "__main__":
    Server().run()
