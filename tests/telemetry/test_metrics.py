"""What is counted comes out under the name that dashboards use."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.telemetry.metrics import ALIASES, DropReason, Metrics
from protocol import errors


def samples(metrics: Metrics) -> dict[str, float]:
    """Return every sample under its name and labels, as Prometheus would store it."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sample.labels.items()): (
            sample.value
        )
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_what_is_counted_is_rendered() -> None:
    metrics = Metrics()

    metrics.connections_open.inc()
    metrics.deliveries.count += 3
    metrics.broadcasts_dropped["channel_busy"].inc()

    found = samples(metrics)
    assert found["realtime_connections_open"] == 1
    assert found["realtime_deliveries_total"] == 3
    assert found["realtime_broadcasts_dropped_total reason=channel_busy"] == 1


def test_every_value_of_a_label_is_there_from_the_start() -> None:
    found = samples(Metrics())

    for reason in get_args(DropReason):
        assert found[f"realtime_broadcasts_dropped_total reason={reason}"] == 0


def test_two_nodes_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()

    first.slow_consumers.inc()

    assert samples(first)["realtime_slow_consumers_total"] == 1
    assert samples(second)["realtime_slow_consumers_total"] == 0


def test_names_follow_the_one_pattern() -> None:
    ours = {
        family.name
        for family in text_string_to_metric_families(Metrics().render().decode())
        if not family.name.startswith("process_")
    } - ALIASES.keys()

    assert len(ours) > 10
    assert [name for name in ours if not re.fullmatch(r"realtime_[a-z]+(_[a-z]+)*", name)] == []


def test_the_codes_of_malformed_frames_are_those_of_the_protocol() -> None:
    faults = {errors.MalformedFrame, errors.UnknownFrame, errors.TooMuchPending}

    assert Metrics().frames_malformed.keys() == {fault.code for fault in faults}


@pytest.mark.capability("FB-080")
def test_figures_have_the_names_that_dashboards_of_other_servers_look_for() -> None:
    metrics = Metrics()

    metrics.connections_open.set(5)
    metrics.broadcasts_accepted.count += 2
    metrics.broadcasts_relayed.inc()
    metrics.joins["ok"].inc()
    metrics.joins["error"].inc()
    metrics.channels.set(3)

    found = samples(metrics)
    assert found.keys() >= ALIASES.keys()
    assert found["realtime_connections_connected"] == 5
    assert found["realtime_channel_events"] == 3
    assert found["realtime_channel_joins"] == 2
    assert found["phoenix_connections_active"] == 5
    assert found["fluxbase_realtime_connections"] == 5
    assert found["fluxbase_realtime_channels"] == 3
