"""What clients are told whose rows cannot be judged, and who is not asked about again for a while.

Used by `row_judge`, one for each query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio
from attrs import define, field

from actors.db.sqlstates import QUERY_CANCELED

if TYPE_CHECKING:
    from actors.db.row_query import RowQuery

#: How long claims that took too long are refused without asking, in seconds.
QUARANTINE_S = 30.0
MAX_QUARANTINED = 10_000
#: How often the same failure of the same query is logged, in seconds.
LOG_AGAIN_S = 60.0

ERROR_FAILED = "Error 500: Internal Server Error, row security failed"
ERROR_SLOW = "Error 504: Gateway Timeout, row security took too long"


@define(eq=False)
class RowFaults:
    """The faults of one query."""

    _query: RowQuery
    _quarantine: dict[str, float] = field(factory=dict[str, float], init=False)
    _logged: dict[str, float] = field(factory=dict[str, float], init=False)

    def is_held(self, claims: str) -> bool:
        """Whether the claims took too long a moment ago."""
        return self._quarantine.get(claims, 0.0) > trio.current_time()

    def note(self, claims: str, sqlstate: str) -> str:
        """Note why a row cannot be judged, and return what the client is told."""
        now = trio.current_time()
        if now >= self._logged.get(sqlstate, 0.0) + LOG_AGAIN_S:
            self._logged[sqlstate] = now
            structlog.get_logger().warning(
                "policy.failed",
                schema=self._query.schema,
                table=self._query.table,
                role=self._query.role,
                sqlstate=sqlstate,
            )
        if sqlstate != QUERY_CANCELED:
            return ERROR_FAILED
        if not self.is_held(claims):
            if len(self._quarantine) >= MAX_QUARANTINED:
                self._quarantine.clear()
            self._quarantine[claims] = now + QUARANTINE_S
        return ERROR_SLOW
