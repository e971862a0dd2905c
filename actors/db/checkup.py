"""Looks whether a database is set up for this server, one question after the other; changes nothing.

Called by the command `troupe doctor`; the questions are in `server_checks` and `object_checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from actors.db.change_sources import SourceMode
from actors.db.findings import Level
from actors.db.object_checks import OBJECT_CHECKS
from actors.db.server_checks import SERVER_CHECKS

if TYPE_CHECKING:
    from actors.db.driver import TrioConnection
    from actors.db.findings import Finding


#: What has to be right for the log to be read, and what then only concerns whoever reads it.
_NEEDED_FOR_LOG = frozenset({"wal_level", "login role"})
_OF_SLOTS = frozenset({"replication slots", "WAL senders", "retention"})
_FALLBACK = (
    " Triggers tell of row changes instead: what commits while this server is away is lost,"
    " and whoever may connect to the database can hear of every row, and make rows up."
)


async def check_up(
    connection: TrioConnection, publication: str, mode: SourceMode = SourceMode.REPLICATION
) -> list[Finding]:
    """Return what was found, in the order in which it would be mended.

    Where triggers may take the place of the log, what keeps it from being read is a warning that says what is lost.

    Raises:
        psycopg.Error: the database could not be asked.
    """
    findings: list[Finding] = []
    for check in (*SERVER_CHECKS, *OBJECT_CHECKS):
        cursor = await connection.execute(check.statement, {"publication": publication})
        findings += check.judge(await cursor.fetchall())
    if mode in (SourceMode.AUTO, SourceMode.NOTIFY):
        return _without_log(findings, mode)
    return findings


def _without_log(findings: list[Finding], mode: SourceMode) -> list[Finding]:
    """Return the findings for a server that does without the log, because it is told to or has to."""
    is_read = mode is SourceMode.AUTO and not any(map(_keeps_from_log, findings))
    return [
        evolve(finding, level=Level.WARNING, sentence=finding.sentence + _FALLBACK)
        if _keeps_from_log(finding)
        else finding
        for finding in findings
        if is_read or finding.subject not in _OF_SLOTS
    ]


def _keeps_from_log(finding: Finding) -> bool:
    return finding.subject in _NEEDED_FOR_LOG and finding.level is Level.ERROR
