"""`troupe doctor`: look whether settings and database are fit for this server, and say what mends what is not."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

import trio

from actors.commands.database import open_database, say
from actors.commands.keys import check_key_set, check_secret
from actors.commands.proxy import check_url
from actors.db.change_sources import SourceMode
from actors.db.checkup import check_up
from actors.db.findings import Finding, Level, error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.db.driver import TrioConnection

#: Seconds by which the clocks of Postgres and this machine may differ before tokens and partitions suffer.
SKEW_S = 2.0
SERIOUS_SKEW_S = 60.0


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Return 0 if all is well, 1 if there are warnings, 2 if there are errors."""
    return trio.run(_run, arguments, environment)


async def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    options, rest = grammar().parse_known_args(arguments)
    async with open_database(rest, environment) as database:
        settings = database.settings
        findings = [
            *check_secret(settings),
            *await check_key_set(settings),
            await check_clock(database.connection),
            *await check_up(
                database.connection, settings.publication, SourceMode(settings.change_source)
            ),
        ]
    if options.url is not None:
        findings += await check_url(options.url, settings)
    if options.json:
        say(json.dumps([_as_json(finding) for finding in findings], indent=2))
    else:
        say(table(findings))
    return int(max(finding.level for finding in findings))


def grammar() -> argparse.ArgumentParser:
    """Return the grammar of this command's own words; the others are settings."""
    parser = argparse.ArgumentParser(
        prog="troupe doctor",
        description="Say whether settings and database are fit, and what mends what is not.",
        epilog="All flags of the server are understood too.",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument(
        "--url", help="address that clients are given: try it from here as well"
    )
    return parser


async def check_clock(connection: TrioConnection) -> Finding:
    """Return how far the clock of Postgres is from ours."""
    before = time.time()  # noqa: TID251  # this command has no clock handed in
    cursor = await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    ((theirs,),) = await cursor.fetchall()
    after = time.time()  # noqa: TID251
    skew_s = max(before - theirs, theirs - after, 0.0)
    sentence = f"The clocks of Postgres and this machine differ by {skew_s:.1f} s."
    remedy = "timedatectl set-ntp true  # on both machines"
    if skew_s > SERIOUS_SKEW_S:
        return error("clock", sentence, remedy)
    if skew_s > SKEW_S:
        return warning("clock", sentence, remedy)
    return ok("clock", sentence)


def table(findings: Sequence[Finding]) -> str:
    """Return the findings for people, each with its remedy below."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level.name:7} {finding.subject:{width}}  {finding.sentence}")
        if finding.remedy:
            lines.append(f"{'':7} {'':{width}}  -> {finding.remedy}")
    return "\n".join(lines)


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "level": Level(finding.level).name.lower(),
        "subject": finding.subject,
        "sentence": finding.sentence,
        "remedy": finding.remedy,
    }
