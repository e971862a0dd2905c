"""Which tables the operator lets be followed, beyond what is published.

Looked at by the listener for every change, so whoever subscribed to what, nothing of another table gets through;
and when a channel is subscribed, whose client is told then.

**Source**: ledger GF-094, GF-095, C33.
"""

from __future__ import annotations

from attrs import frozen

DEFAULT_SCHEMA = "public"
ANY = "*"


@frozen
class TableRules:
    """Names of tables as `(schema, table)`, `*` for any table of a schema; nothing listed in `only` is everything."""

    only: frozenset[tuple[str, str]] = frozenset()
    excluded: frozenset[tuple[str, str]] = frozenset()

    def allow(self, schema: str, table: str) -> bool:
        """Whether a table may be followed."""
        names = {(schema, table), (schema, ANY)}
        if self.only and not names & self.only:
            return False
        return not names & self.excluded


def parse_tables(text: str) -> frozenset[tuple[str, str]]:
    """Return the tables in a list with commas: `messages`, `app.users`, `auth.*`.

    Raises:
        ValueError: a name is empty.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    parts = [name.rpartition(".") for name in names]
    found = frozenset((schema or DEFAULT_SCHEMA, table) for schema, _, table in parts)
    if any(not table for _, table in found):
        raise ValueError("tables separated by commas, as schema.table or schema.*")
    return found
