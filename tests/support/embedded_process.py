"""Runs an embedded Postgres in the directory and on the port given, until stdin ends.

Prints one line of JSON when it is ready.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import trio

from actors.core.spec import ChildSpec
from actors.core.supervisor import Supervisor
from actors.db.cluster_files import ClusterFiles, EmbeddedOptions, claim_cluster
from actors.db.embedded import EmbeddedPostgres, ServerState
from actors.db.postmaster import read_postmaster
from actors.telemetry.log import LogOptions, configure


def complain(report: object) -> None:
    sys.stderr.write(f"{report}\n")


async def main(files: ClusterFiles) -> None:
    supervisor = Supervisor(random=Random(0), observe=complain)
    spec = ChildSpec(
        "postgres", lambda: EmbeddedPostgres(files, ServerState()), rank=0, ready_within=60.0
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run, spec)
        postmaster = read_postmaster(files.data)
        facts = {
            "conninfo": files.address.conninfo,
            "postmaster": postmaster and postmaster.pid,
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    configure(LogOptions(node="separate"))
    with claim_cluster(EmbeddedOptions(Path(sys.argv[1]), port=int(sys.argv[2]))) as claimed:
        trio.run(main, claimed)
