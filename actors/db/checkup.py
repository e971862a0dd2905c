"""Looks whether a database is set up for this server, one question after the other; changes nothing.

Called by the command `troupe doctor`; the questions are in `server_checks` and `object_checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.db.object_checks import OBJECT_CHECKS
from actors.db.server_checks import SERVER_CHECKS

if TYPE_CHECKING:
    from actors.db.driver import TrioConnection
    from actors.db.findings import Finding


async def check_up(connection: TrioConnection, publication: str) -> list[Finding]:
    """Return what was found, in the order in which it would be mended.

    Raises:
        psycopg.Error: the database could not be asked.
    """
    findings: list[Finding] = []
    for check in (*SERVER_CHECKS, *OBJECT_CHECKS):
        cursor = await connection.execute(check.statement, {"publication": publication})
        findings += check.judge(await cursor.fetchall())
    return findings
