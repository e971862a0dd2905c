"""Notices when other tables are published, so that subscriptions are resolved again.

A task of the listener: who was refused because a table was not published is let in once it is,
and who follows one that is not published any more is told.
The stream itself says nothing of that; but whatever changes a publication is written to the log.

**Invariants**
- A database to which nothing is written is not asked anything.

**Source**: spec 6.6; upstream looks every 60 s, and resubscribes everybody then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from attrs import define, field

from actors.realtime.errors import Unavailable

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

    from actors.realtime.change_feed import ChangeFeed
    from protocol.changes.model import Lsn


@define(eq=False)
class PublicationWatch:
    """What was published when it was looked at last, and how far the database had written by then."""

    _feed: ChangeFeed
    _published: str | None = field(default=None, init=False)
    _looked_at: Lsn | None = field(default=None, init=False)
    _log: BoundLogger = field(factory=structlog.get_logger, init=False)

    async def look(self, written: Lsn) -> bool:
        """Look again if the database has written since; return whether other tables are published than before."""
        if written == self._looked_at or not self._feed.router.channels():
            return False
        try:
            published = await self._feed.subscriptions.published()
        except Unavailable as away:
            self._log.debug("publication.not_looked_at", advice=away.advice)
            return False
        self._looked_at = written
        # The first look is news as well: somebody may have been resolved before the latest change.
        is_news = published != self._published
        self._published = published
        if is_news:
            self._log.info("publication.looked_at")
            self._feed.state.epoch += 1
        return is_news
