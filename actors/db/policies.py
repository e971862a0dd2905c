"""Who may read and write on private topics, by the policies of realtime.messages.

Implements `ports.Policies`; the functions that try it are in `sql/probes`.
What is asked at the same time goes out together, and an answer counts for whoever asks the same within a second,
so a storm of joins costs few statements.

**Invariants**
- Fails closed: who cannot be judged is not let in, and is told why in upstream's words.
- A policy that fails or dawdles for one identity keeps nobody else from an answer.
- Nothing is left behind: every transaction is rolled back.

**Source**: spec 7 (results), 2.3 (texts).
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final
from weakref import WeakSet
from zlib import crc32

import msgspec
import psycopg
import structlog
import trio
from attrs import define, field, frozen
from psycopg import sql

from actors.db.coalescer import Coalescer
from actors.db.pool import Pool
from actors.db.row_sessions import StatementFailed
from actors.realtime.errors import DatabaseUnavailable, PolicyUndecided
from actors.realtime.ports import Grants

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.db.driver import TrioConnection
    from actors.realtime.ports import Identity, PolicyQuestion

#: What policies were written for, as `row_query` has it.
SEARCH_PATH: Final = "public,extensions"
#: How long an answer counts, in seconds; shorter than it takes to notice that a policy was changed.
MAX_AGE_S: Final = 1.0
MAX_ANSWERS: Final = 10_000
#: Statements at a time; topics share one by chance, so a slow policy delays few others.
LANES: Final = 4
MAX_BATCH: Final = 200
TIMED_OUT: Final = "57014"
#: A value that cannot be taken, which spoils the statement it is part of.
UNREADABLE: Final = ("", "22")
NO_PARTITION: Final = "23514"
NO_TABLE: Final = ("42P01", "3F000")


@frozen
class Probe:
    """One question as Postgres is asked it; equal ones have the same answer."""

    sub_topic: str
    role: str
    claims: str
    subject: str
    headers: str
    wants_presence: bool


@frozen
class Outcome:
    """What came out for one probe; `failure` is the SQLSTATE of what kept it from an answer."""

    grants: Grants
    failure: str | None = None


_CALL: Final = sql.SQL(
    "SELECT * FROM pg_temp.{}(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[])"
)

Outcomes = dict[Probe, Outcome]
NOTHING: Final = Grants(broadcast=False, presence=False)


class _Claims(msgspec.Struct):
    sub: object = None


_read_claims = msgspec.json.Decoder(_Claims).decode


@define(eq=False)
class PolicyProbes:
    """Asks one kind of question, of one function."""

    _pool: Pool
    _name: str
    _clock: Callable[[], float] = trio.current_time
    _answers: dict[Probe, tuple[float, Outcome]] = field(factory=dict, init=False)
    _ready: WeakSet[TrioConnection] = field(factory=WeakSet, init=False)
    _lanes: list[Coalescer[Probe, Outcomes]] = field(init=False)

    @_lanes.default
    def _make_lanes(self) -> list[Coalescer[Probe, Outcomes]]:
        return [Coalescer(self._ask_all) for _ in range(LANES)]

    async def decide(self, probe: Probe) -> Outcome:
        """Return what came out.

        Raises:
            DatabaseUnavailable: Postgres could not be asked.
        """
        until, outcome = self._answers.get(probe, (0.0, None))
        if outcome is not None and self._clock() < until:
            return outcome
        lane = self._lanes[crc32(probe.sub_topic.encode()) % LANES]
        return (await lane.answer(probe))[probe]

    async def _ask_all(self, probes: Sequence[Probe]) -> Outcomes:
        until = self._clock() + MAX_AGE_S
        # Together by role: a plan is good for one role, and made anew for another.
        wanted = sorted(set(probes), key=lambda probe: probe.role)
        outcomes: Outcomes = {}
        for start in range(0, len(wanted), MAX_BATCH):
            outcomes |= await self._ask_some(wanted[start : start + MAX_BATCH])
        if len(self._answers) + len(outcomes) > MAX_ANSWERS:
            self._answers.clear()
        for probe, outcome in outcomes.items():
            if outcome.failure is None:
                self._answers[probe] = until, outcome
        return outcomes

    async def _ask_some(self, probes: Sequence[Probe]) -> Outcomes:
        try:
            return await self._ask(probes)
        except StatementFailed as failed:
            is_of_one = failed.sqlstate == TIMED_OUT or failed.sqlstate.startswith(UNREADABLE)
            if len(probes) == 1 or not is_of_one:
                return dict.fromkeys(probes, Outcome(NOTHING, failed.sqlstate))
        # One of them is to blame, and shows when each is asked alone.
        outcomes: Outcomes = {}
        async with trio.open_nursery() as nursery:
            for probe in probes:
                nursery.start_soon(self._ask_alone, probe, outcomes)
        return outcomes

    async def _ask_alone(self, probe: Probe, outcomes: Outcomes) -> None:
        try:
            outcomes |= await self._ask_some([probe])
        except DatabaseUnavailable:
            # The others are in the way: as if it had been too slow itself.
            outcomes[probe] = Outcome(NOTHING, TIMED_OUT)

    async def _ask(self, probes: Sequence[Probe]) -> Outcomes:
        columns = (
            [probe.sub_topic for probe in probes],
            [probe.role for probe in probes],
            [probe.claims for probe in probes],
            [probe.subject for probe in probes],
            [probe.headers for probe in probes],
            [probe.wants_presence for probe in probes],
        )
        async with self._pool.connection() as connection:
            if connection not in self._ready:
                await connection.execute(_definition(self._name))
                self._ready.add(connection)
            try:
                async with connection.pipeline():
                    await connection.execute("BEGIN")
                    cursor = await connection.execute(
                        _CALL.format(sql.Identifier(self._name)), columns
                    )
                    await connection.execute("ROLLBACK")
            except psycopg.Error as error:
                if connection.closed:
                    raise
                await connection.rollback()
                raise StatementFailed(error.sqlstate or "") from None
            rows = await cursor.fetchall()
        return {
            probe: Outcome(Grants(broadcast, presence), failure)
            for probe, (broadcast, presence, failure) in zip(probes, rows, strict=True)
        }


class PostgresPolicies:
    """Implements `ports.Policies`; `timeout_s` bounds each statement."""

    def __init__(self, conninfo: str, timeout_s: float) -> None:
        settings = {"statement_timeout": f"{timeout_s * 1000:.0f}", "search_path": SEARCH_PATH}
        self._pool = Pool(conninfo, LANES, wait_s=timeout_s, settings=settings)
        self._reads = PolicyProbes(self._pool, "may_read")
        self._writes = PolicyProbes(self._pool, "may_write")

    def close(self) -> None:
        self._pool.close()

    async def may_read(self, question: PolicyQuestion, *, presence: bool) -> Grants:
        return await self._decide(self._reads, question, presence=presence)

    async def may_write(self, question: PolicyQuestion) -> Grants:
        return await self._decide(self._writes, question, presence=True)

    async def _decide(
        self, probes: PolicyProbes, question: PolicyQuestion, *, presence: bool
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


def _definition(name: str) -> bytes:
    return resources.files("actors.db").joinpath("sql", "probes", f"{name}.sql").read_bytes()


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
    if sqlstate == TIMED_OUT:
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
        structlog.get_logger().warning("policy.failed", sqlstate=sqlstate)
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
    if "were busy" in away.advice:
        return PolicyUndecided(
            "IncreaseConnectionPool",
            "Please increase your connection pool size",
            ":increase_connection_pool",
        )
    return PolicyUndecided(
        "UnableToConnectToProject",
        "Realtime was unable to connect to the project database",
    )
