"""Presence storm: all clients of a topic track themselves at once; what until everybody knows of everybody?"""

import json

from attrs import frozen
from generator import Client, Measured, judge, running_load_generator
from peers.catalogue import TOPIC, TROUPE_PATH

from workloads.place import MARGIN_S, Place, costs


@frozen
class PresenceStorm:
    clients: int = 300
    unit: str = "presence told to one"

    @property
    def name(self) -> str:
        return f"presence storm of {self.clients} clients"

    @property
    def connections(self) -> int:
        return self.clients

    def measure(self, place: Place) -> Measured:
        config = {"config": {"presence": {"enabled": True}}}
        track = {"type": "presence", "event": "track", "payload": {"name": "a client"}}
        client = Client(
            TROUPE_PATH,
            (json.dumps(["1", "1", TOPIC, "phx_join", config]),),
            (json.dumps(["1", "2", TOPIC, "presence", track]),),
        )
        told = self.clients * self.clients
        options = {
            "join-reply": '"ok"',
            "connections": self.clients,
            "marker": '"phx_ref":',
            "expected": told,
        }
        with (
            place.server() as server,
            running_load_generator(
                "listen", [client], options, server, place.cores, MARGIN_S
            ) as generator,
        ):
            measured = generator.result()
        return costs(measured | judge(measured), measured["counted"]) | {
            "delivered": measured["counted"] / told
        }
