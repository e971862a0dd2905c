"""The rows of Supabase's table, with a few clients each."""

from __future__ import annotations

import argparse

import pytest
from harness import running_server
from row_changes import crowds
from row_changes.setting import Setting, command

from tests.support import postgres

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


def test_a_row_of_the_table_counts_what_arrives_of_what_is_written(cores):
    options = argparse.Namespace(seconds=0.5)
    rows = (crowds.Row(3, 1, 1e4), crowds.Row(5, 1, 1e4, has_row_security=True))
    with postgres.running_server() as database:
        database.execute("create publication supabase_realtime", crowds.SCHEMA)
        with running_server(command(database), cores) as server:
            setting = Setting(database, server, cores, options)
            found = [crowds.measure(row, setting) for row in rows]

    assert [crowd.measured["counted"] for crowd in found] == [5 * 3, 5 * 1]
    assert [crowd.delivered for crowd in found] == [1.0, 1.0]
    assert all(0 < crowd.p50_ms <= crowd.p95_ms for crowd in found)
