"""What a change source remembers from one stream to the next, so that nothing is lost unannounced.

Kept by `replication`, asked by `slot_preparation` at each connect, told by `replication_stream` what happens meanwhile.

**Invariants**
- A gap is owed until the first chunk of a stream that carries it was acknowledged.
- A transaction that cannot be read is read `ATTEMPTS` times, never more; so is a slot that Postgres cannot read.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import structlog
from attrs import define, field, frozen

from actors.realtime.change_ports import Gap
from actors.realtime.errors import DatabaseUnavailable
from protocol.changes.model import Lsn, format_lsn

if TYPE_CHECKING:
    import psycopg
    from structlog.stdlib import BoundLogger

    from protocol.changes.model import Position

#: How often a transaction is read, or a slot streamed, before it is given up.
ATTEMPTS = 3

#: SQLSTATE classes that say that the server is away or busy, not that it cannot go on:
#: connection exception, insufficient resources, operator intervention.
_PASSING = ("08", "53", "57")

_ANOTHER_SYSTEM = (
    "Postgres is another server than before, or was restored: changes may be missing."
)
_SKIPPED = "A transaction could not be read and was left out."
_UNREADABLE = "Postgres could not read on in its log: changes may be missing."


@frozen
class System:
    """What Postgres says it is: positions can be compared within one system and timeline only."""

    identifier: str
    timeline: int


@define(eq=False)
class Continuity:
    """`covered`: all that committed before it was acknowledged by somebody, or concerned nobody.

    `is_underway`: a stream was live, so that somebody may count on what commits since.
    `needs_new_slot`: the durable slot is of no use and is to be made again.
    """

    covered: Lsn = field(default=Lsn(0), init=False)
    is_underway: bool = field(default=False, init=False)
    needs_new_slot: bool = field(default=False, init=False)
    owed: Gap | None = field(default=None, init=False)
    _system: System | None = field(default=None, init=False)
    _failed_at: Lsn | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _refusals: int = field(default=0, init=False)
    #: Behind the last transaction that was given up.
    _skip_to: Lsn = field(default=Lsn(0), init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    def recognise(self, system: System, written: Lsn) -> None:
        """Note where we are connected to, whose log ends at `written`; start over if it is not where we were."""
        # A log that ends before what it sent us is an older copy of itself.
        is_another = self._system is not None and (
            self._system != system or written < self.covered
        )
        self._system = system
        if is_another:
            self._log.warning("system.changed", timeline=system.timeline)
            self.owe(Gap(_ANOTHER_SYSTEM, starts_over=True))
            self.needs_new_slot = True
            self.covered = self._skip_to = Lsn(0)
            self._failed_at = None

    def owe(self, gap: Gap) -> None:
        """Announce `gap` with the next chunk; one that starts over stays one."""
        if self.owed is None or not self.owed.starts_over:
            self.owed = gap

    def resumable(self, after: Position | None) -> Lsn:
        """Return the commit LSN of what was received last: what comes behind it is still wanted; 0 if unknown."""
        if after is None or (self.owed is not None and self.owed.starts_over):
            return Lsn(0)
        return after.commit_lsn

    def start(self, after: Position | None) -> Lsn:
        """Return where to start: nothing that commits before it is sent; 0 leaves that to the slot."""
        if self._failures >= ATTEMPTS and self._failed_at is not None:
            self._log.error("commit.skipped", lsn=format_lsn(self._failed_at))
            # Postgres itself leaves out what commits before the place to start.
            self._skip_to = Lsn(self._failed_at + 1)
            self._failed_at = None
            self.owe(Gap(_SKIPPED))
        return max(self.resumable(after), self._skip_to)

    def note_confirmed(self, lsn: Lsn) -> None:
        """Note how far a stream of ours had got when it ended."""
        self.covered = max(self.covered, lsn)

    def note_acknowledged(self, gap: Gap | None) -> None:
        """Note that the stream gets on, and that `gap` was announced."""
        self._refusals = 0
        if gap is not None and gap is self.owed:
            self.owed = None

    def note_failure(self, commit_lsn: Lsn | None, error: Exception) -> DatabaseUnavailable:
        """Count a message of a transaction that could not be read, None if of no transaction; return what to raise."""
        if commit_lsn is None:
            attempt = self._count_refusal()
        else:
            attempt = self._failures + 1 if commit_lsn == self._failed_at else 1
            self._failures, self._failed_at = attempt, commit_lsn
        # Never the error's text, which may quote what was in the row.
        self._log.error(
            "commit.failed",
            lsn=None if commit_lsn is None else format_lsn(commit_lsn),
            attempt=attempt,
            error=type(error).__name__,
            trace="".join(traceback.format_tb(error.__traceback__)),
        )
        return DatabaseUnavailable(
            "A transaction of the database cannot be read: reading it again, and leaving it out in the end."
        )

    def note_refusal(self, error: psycopg.Error) -> None:
        """Count that the server ended the stream because it could not go on."""
        if error.sqlstate is not None and not error.sqlstate.startswith(_PASSING):
            self._count_refusal()

    def _count_refusal(self) -> int:
        """Return how often the slot could not be read on; give it up in the end."""
        self._refusals += 1
        attempt = self._refusals
        if attempt >= ATTEMPTS:
            self._refusals = 0
            self.needs_new_slot = True
            self.owe(Gap(_UNREADABLE))
        return attempt
