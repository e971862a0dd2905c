"""What does the server pay while many wait for changes that do not come?"""

import time

from generator import Client, running_load_generator
from harness import RunFailed
from peers.catalogue import TROUPE_PATH
from subscriber import SUBSCRIBED, join_text

from row_changes.setting import Setting

#: The log's window, two rounds of housekeeping and a checkpoint's worth of patience.
SETTLE_S = 12
#: Of statements, the server's own: log lines begin with the application's name.
SERVER_STATEMENT = b"troupe|"
#: For opening the connections and ending.
MARGIN_S = 60.0


def measure_idling(setting: Setting) -> dict[str, float]:
    """Let many subscribers wait, and see what the server does meanwhile."""
    setting.database.execute(
        "alter system set log_statement = 'all'", "select pg_reload_conf()"
    )
    log = setting.database.directory / "log"
    options = {
        "join-reply": SUBSCRIBED.decode(),
        "connections": setting.options.subscribers,
        "marker": "nothing",
        "expected": 1,
    }
    deadline_s = SETTLE_S + setting.options.idle + MARGIN_S
    clients = [Client(TROUPE_PATH, (join_text("bench"),))]
    with running_load_generator(
        "listen", clients, options, setting.server, setting.cores, deadline_s
    ) as generator:
        generator.wait_joined()
        time.sleep(SETTLE_S)
        settled_bytes = log.stat().st_size
        before_s, began = setting.cpu_s(), time.monotonic()
        time.sleep(setting.options.idle)
        used_s, elapsed_s = setting.cpu_s() - before_s, time.monotonic() - began
    setting.database.execute("alter system reset log_statement", "select pg_reload_conf()")
    written = log.read_bytes()
    if not _statements(written[:settled_bytes]):
        raise RunFailed("the log shows no statement of the server at all")
    return {
        "idle_cpu_share": used_s / elapsed_s,
        "idle_statements": _statements(written[settled_bytes:]),
    }


def _statements(log: bytes) -> int:
    return sum(line.startswith(SERVER_STATEMENT) for line in log.splitlines())
