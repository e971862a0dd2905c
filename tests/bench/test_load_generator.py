"""A benchmark that miscounts is worse than none: the load generator against servers that cut, lose or repeat."""

from __future__ import annotations

import pytest
from check_loadgen import CASES, run_case
from generator import Client, compile_load_generator, judge

USED = {
    "server_core_busy": 0.5,
    "server_busy": 0.5,
    "loadgen_core_busy": 0.95,
    "loadgen_busy": 0.92,
    "server_kernel_s": 1.0,
    "server_cpu_s": 2.0,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.deliver.__name__}-{case.failure}"
)
def test_what_a_server_does_wrong_is_noticed(case, cores):
    assert run_case(compile_load_generator("fanout"), case) is None


def test_a_client_is_written_as_the_generator_reads_it():
    client = Client("/path", ("join one", "join two"), ("text",))

    assert client.lines() == "path /path\njoin join one\njoin join two\nsend text\n\n"


def test_a_run_in_which_the_generator_set_the_pace_is_void():
    assert judge(USED)["void"]
    assert not judge(USED | {"server_core_busy": 0.99})["void"]
    assert not judge(USED | {"loadgen_busy": 0.5})["void"]


def test_a_run_beside_other_programs_is_disturbed():
    assert judge(USED | {"loadgen_busy": 0.5})["disturbed"]
    assert not judge(USED)["disturbed"]
