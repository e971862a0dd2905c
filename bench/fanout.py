"""Fan-out: one connection publishes, every subscriber receives; what does a delivery cost the server?

Runs servers in shuffled, interleaved rounds, so that a slow minute of the machine hits all of them, and compares
them pair by pair within a round.
Prints a table and writes everything measured as JSON.
"""

import argparse
import random
import time
from pathlib import Path

import machine
import report
from attrs import frozen
from generator import Client, Measured, run_load_generator
from harness import BENCH, RunFailed, RunningServer, running_server
from machine import Cores
from peers.catalogue import CATALOGUE, Peer, delivered_text

# Allowed for one load generator besides warm-up and measuring: opening the connections and draining.
MARGIN_S = 30.0


@frozen
class Mode:
    """How publishes follow one another: so many not yet delivered to everybody, and at least so far apart."""

    name: str
    outstanding: int
    interval_s: float = 0.0


MODES = {
    mode.name: mode
    for mode in (
        Mode("one", outstanding=1),
        Mode("sixteen", outstanding=16),
        Mode("paced", outstanding=1024, interval_s=0.1),
    )
}


def main() -> None:
    options = _parse()
    machine.raise_descriptor_limit(options.subscribers)
    cores = machine.choose_cores()
    peers = [CATALOGUE[name] for name in options.peers]
    commands = {peer.name: peer.prepare() for peer in peers}
    shuffle = random.Random(options.seed).shuffle

    runs: list[Measured] = []
    for round_number in range(options.rounds):
        order = list(peers)
        shuffle(order)
        for peer in order:
            with running_server(commands[peer.name], cores) as server:
                modes = [MODES[name] for name in options.modes]
                shuffle(modes)
                for mode in modes:
                    run = measure(peer, mode, server, cores, options)
                    runs.append({"round": round_number, **run})
                    print(report.progress(runs[-1]), flush=True)

    result = {
        "workload": "fan-out",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "subscribers": options.subscribers,
        "delivered_bytes": options.size,
        "rounds": options.rounds,
        "measure_s": options.measure,
        "seed": options.seed,
        "machine": machine.describe(),
        "servers": {peer.name: peer.versions() for peer in peers},
        "summary": report.summarise(runs, options.peers, options.modes),
        "runs": runs,
    }
    print(report.table(result))
    report.write(result, options.output)


def measure(
    peer: Peer,
    mode: Mode,
    server: RunningServer,
    cores: Cores,
    options: argparse.Namespace,
) -> Measured:
    """Run the load generator once and derive the cost of a delivery."""
    delivered = delivered_text(options.size)
    measured = run_load_generator(
        "fanout",
        [Client(peer.path, (peer.join,), (peer.publish(delivered),))],
        {
            "join-reply": '"ok"',
            "connections": options.subscribers,
            "outstanding": mode.outstanding,
            "interval": mode.interval_s,
            "warmup": options.warmup,
            "measure": options.measure,
        },
        server,
        cores,
        deadline_s=options.warmup + options.measure + MARGIN_S,
    )
    if measured["delivered_bytes"] != measured["deliveries"] * options.size:
        raise RunFailed(f"{peer.name} does not deliver {options.size} bytes as published")
    return {
        "peer": peer.name,
        "mode": mode.name,
        **measured,
        "server_us_per_delivery": measured["server_cpu_s"] * 1e6 / measured["deliveries"],
        "deliveries_per_s": measured["deliveries"] / measured["wall_s"],
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peers", nargs="+", choices=CATALOGUE, default=["troupe", "node_ws", "c_floor"]
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--subscribers", type=int, default=1000, metavar="N")
    parser.add_argument(
        "--size", type=int, default=175, metavar="BYTES", help="of a delivered message"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warmup", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--measure", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1, help="of the order of servers and modes")
    default_output = BENCH / "results" / time.strftime("%Y-%m-%d-fanout.json", time.gmtime())
    parser.add_argument(
        "--output", type=Path, default=default_output, help="JSON file to write"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except RunFailed as error:
        raise SystemExit(f"no result: {error}") from None
