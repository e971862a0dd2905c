"""The cap on what clients that read slowly may keep in memory, all of them together.

Made by the node, which has one for all that it serves; counted by each `Outbox` (`outbox.py`),
which ends its connection when it has to queue while the cap is full.
"""

from __future__ import annotations

from attrs import define


@define
class OutboxCap:
    """How much all outboxes that share it may have queued together."""

    limit_bytes: int
    queued_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self.queued_bytes >= self.limit_bytes
