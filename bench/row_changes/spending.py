"""Who spends the processor's time while rows are written: the server, and which processes of Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from attrs import define, field

from row_changes.setting import Setting

#: The server's sessions have its name, those of others none.
TROUPE = "troupe"
#: What the figures are called.
SERVER, JUDGING, DECODING, WRITING, REST = "server", "judging", "decoding", "writing", "rest"
PARTS = (SERVER, JUDGING, DECODING, WRITING, REST)


@define
class Spending:
    """Processor time in seconds, by who spent it."""

    seconds: dict[str, float] = field(factory=dict)

    def per_change(self, changes: float) -> dict[str, float]:
        """Return milliseconds for each change."""
        return {part: self.seconds[part] / max(changes, 1) * 1000 for part in PARTS}


@contextmanager
def spending(setting: Setting) -> Iterator[Spending]:
    """Measure what is spent meanwhile; complete when the block ends."""
    spent = Spending()
    with psycopg.connect(setting.database.conninfo(), autocommit=True) as observer:
        before = _used_s(setting, observer)
        yield spent
        after = _used_s(setting, observer)
    spent.seconds = dict.fromkeys(PARTS, 0.0)
    for (part, process), used_s in after.items():
        spent.seconds[part] += used_s - before.get((part, process), 0.0)


def _used_s(
    setting: Setting, observer: psycopg.Connection[tuple[int, str, str]]
) -> dict[tuple[str, int], float]:
    """Return what each process has used so far; of one that ended meanwhile nothing is known."""
    found = {(SERVER, setting.server.process): setting.cpu_s()}
    for process, kind, name in observer.execute(
        "select pid, backend_type, application_name from pg_stat_activity"
        " where pid <> pg_backend_pid()"
    ):
        schedule = Path(f"/proc/{process}/schedstat")
        if schedule.exists():
            used_s = int(schedule.read_text().split()[0]) / 1e9
            found[_part(kind, name), process] = used_s
    return found


def _part(kind: str, name: str) -> str:
    if kind == "walsender":
        return DECODING
    if kind != "client backend":
        return REST
    return JUDGING if name == TROUPE else WRITING
