"""Who may read and write on private topics, by the policies of realtime.messages.

Implements `ports.Policies`: turns identities into questions for `probes`, and what went wrong into upstream's words.
Fails closed: who cannot be judged is not let in.

**Source**: spec 7 (results), 2.3 (texts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog
import trio

from actors.db.pool import PoolExhausted
from actors.db.probe_sessions import Probe, ProbeSessions
from actors.db.probes import ALONE, LANES, Probes
from actors.db.sqlstates import QUERY_CANCELED
from actors.realtime.errors import DatabaseUnavailable, PolicyUndecided

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.realtime.ports import Grants, Identity, PolicyQuestion

#: Of the time limit: how much many questions together may take, and how long anybody waits for an answer.
TOGETHER: Final = 1 / 4
WITHIN: Final = 2
NO_PARTITION: Final = "23514"
NO_TABLE: Final = ("42P01", "3F000")


class _Claims(msgspec.Struct):
    sub: object = None


_read_claims = msgspec.json.Decoder(_Claims).decode


class PostgresPolicies:
    """Implements `ports.Policies`; `timeout_s` is how long a policy may take for one question."""

    def __init__(
        self, conninfo: str, timeout_s: float, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._together = ProbeSessions.open(conninfo, LANES, timeout_s * TOGETHER, timeout_s)
        self._alone = ProbeSessions.open(conninfo, ALONE, timeout_s, timeout_s)
        self._reads, self._writes = (
            Probes(name, self._together, self._alone, timeout_s * WITHIN, clock)
            for name in ("may_read", "may_write")
        )

    @property
    def remembered(self) -> int:
        """How many answers are kept for who asks the same."""
        return len(self._reads) + len(self._writes)

    def close(self) -> None:
        self._together.close()
        self._alone.close()

    async def may_read(self, question: PolicyQuestion, *, presence: bool) -> Grants:
        return await self._decide(self._reads, question, presence=presence)

    async def may_write(self, question: PolicyQuestion) -> Grants:
        return await self._decide(self._writes, question, presence=True)

    async def _decide(
        self, probes: Probes, question: PolicyQuestion, *, presence: bool
    ) -> Grants:
        probe = probe_of(question, presence=presence)
        if probe is None:
            raise failed_policy(question)
        try:
            outcome = await probes.decide(probe)
        except DatabaseUnavailable as away:
            raise away_from(away) from None
        if outcome.failure is not None:
            raise undecided(outcome.failure, question)
        return outcome.grants


def probe_of(question: PolicyQuestion, *, presence: bool) -> Probe | None:
    """Return what to ask, None if it contains what Postgres cannot take."""
    identity = question.identity
    try:
        claims, headers = identity.claims.decode(), question.headers.decode() or "{}"
        subject = _subject(identity)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None
    texts = (question.sub_topic, identity.role, claims, subject, headers)
    # To become "none" would be to stay who we are.
    if identity.role in ("", "none") or not all(map(_is_storable, texts)):
        return None
    return Probe(question.sub_topic, identity.role, claims, subject, headers, presence)


def _subject(identity: Identity) -> str:
    subject = _read_claims(identity.claims).sub
    return subject if isinstance(subject, str) else ""


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def undecided(sqlstate: str, question: PolicyQuestion) -> PolicyUndecided:
    """Return what a policy that failed with that SQLSTATE is to who asked."""
    if sqlstate == QUERY_CANCELED:
        return PolicyUndecided(
            "QueryCanceled",
            "canceling statement due to statement timeout",
            "Query was cancelled, please try again",
        )
    if sqlstate == NO_PARTITION:
        reason = "Realtime was unable to find the expected messages partition"
        return PolicyUndecided("MissingPartition", reason)
    if sqlstate in NO_TABLE:
        structlog.get_logger().warning(
            "policy.unasked", advice="realtime.messages is missing: run 'troupe migrate'."
        )
    else:
        structlog.get_logger().warning(
            "policy.failed",
            topic=question.sub_topic,
            role=question.identity.role,
            sqlstate=sqlstate,
        )
    return failed_policy(question)


def failed_policy(question: PolicyQuestion) -> PolicyUndecided:
    """Return the answer to who cannot be judged, which is that of who may not."""
    return PolicyUndecided(
        "Unauthorized",
        f"You do not have permissions to read from this Channel topic: {question.sub_topic}",
    )


def away_from(away: DatabaseUnavailable) -> PolicyUndecided:
    """Return what a database that could not be asked is to who asked."""
    structlog.get_logger().warning("policy.unasked", advice=away.advice)
    if isinstance(away, PoolExhausted):
        return PolicyUndecided(
            "IncreaseConnectionPool",
            "Please increase your connection pool size",
            ":increase_connection_pool",
        )
    return PolicyUndecided(
        "UnableToConnectToProject",
        "Realtime was unable to connect to the project database",
    )
