"""Supabase's published broadcast workload: each user is in an echo channel and in a room of six.

Source: supabase.com/docs/guides/realtime/benchmarks, read 2026-11-21: each of 32 000 users sends two messages a second
to each of his two channels, on a cluster of two to six nodes; 224 000 messages a second, with 6 ms at the median,
28 at the 95th and 213 at the 99th percentile. Two a second would make 448 000 deliveries; here they are all sent.
"""

import json

from attrs import field, frozen
from generator import Client, Measured
from peers.catalogue import TROUPE_PATH, phoenix_join

from workloads.place import Place, costs

ROOM = 6
CHANNELS = 2
PER_CHANNEL_S = 2.0
MOMENT = "#" * 19
#: Of one message of each user to each of his channels: what he gets himself.
HEARD = 1 + ROOM


@frozen
class Rooms:
    users: int = field(default=1800)
    seconds: float = 10.0
    unit: str = "delivery"

    @users.validator
    def _check_users(self, _attribute: object, users: int) -> None:
        if users % ROOM:
            raise ValueError(
                f"rooms of {ROOM} are not full with {users} users: what is expected would not come"
            )

    @property
    def name(self) -> str:
        return f"{self.users} users, each in an echo channel and a room of {ROOM}, {PER_CHANNEL_S:g}/s to each"

    @property
    def connections(self) -> int:
        return self.users

    def measure(self, place: Place) -> Measured:
        options = {
            "join-reply": '"ok"',
            "connections": self.users,
            "interval": 1 / (CHANNELS * PER_CHANNEL_S * self.users),
            "measure": self.seconds,
            "marker": '"sent_ns":"',
            "expected": HEARD * self.users,
        }
        clients = [_client(number) for number in range(self.users)]
        with place.server() as server:
            measured = place.generate("talk", clients, options, server)
        delivered = measured["deliveries"] / measured["expected"]
        return costs(measured, measured["deliveries"]) | {"delivered": delivered}


def _client(number: int) -> Client:
    topics = (f"realtime:echo-{number}", f"realtime:room-{number // ROOM}")
    return Client(
        TROUPE_PATH,
        tuple(phoenix_join(topic, is_echoed=True) for topic in topics),
        tuple(_text(topic) for topic in topics),
    )


def _text(topic: str) -> str:
    payload = {"sent_ns": MOMENT, "text": "x" * 60}
    broadcast = {"type": "broadcast", "event": "bench", "payload": payload}
    return json.dumps(["1", "2", topic, "broadcast", broadcast], separators=(",", ":"))
