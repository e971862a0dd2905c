"""SQLSTATEs that several files of this floor act on, by the names that Postgres has for them.

**Source**: PostgreSQL 18 documentation, appendix A.
"""

from __future__ import annotations

from typing import Final

#: A statement took longer than it may, or somebody ended it.
QUERY_CANCELED: Final = "57014"
