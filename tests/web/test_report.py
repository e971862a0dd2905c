"""The report of the dashboard: complete for a small tenant, and small for a large one."""

from __future__ import annotations

import json

from actors.realtime.snapshot import (
    ChangeSnapshot,
    ChannelSnapshot,
    ConnectionSnapshot,
    PresenceSnapshot,
    Snapshot,
    Totals,
)
from actors.web.report import BOUNDS, NAME_LIMIT, SIZE_LIMIT_BYTES, render_report

TREE = {"supervisors": [], "crashes": 1, "restarts": 2, "incidents": []}


def crowded(bounds, name):
    """Return a snapshot as full as the bounds allow, in which everything has that name."""
    members = bounds.members * (name,)
    presences = tuple(PresenceSnapshot(f"{n}{name}", b"{}") for n in range(bounds.members))
    return Snapshot(
        1.0,
        Totals(1_000_000, 1_000_000, 0, 0, 0),
        bounds.channels * (ChannelSnapshot(name, True, 9, 8, members, presences),),
        bounds.connections * (ConnectionSnapshot(name, name, name, name, 1.0, members),),
        bounds.changes * (ChangeSnapshot(name, name, name, name, name, name),),
    )


def tree(limit):
    return {
        **TREE,
        "supervisors": [{"name": "root", "size": 5, "actors": limit * [{"name": "a"}]}],
    }


def test_a_report_has_everything_but_payloads():
    channel = ChannelSnapshot(
        "room",
        True,
        3,
        2,
        ("a", "b"),
        (PresenceSnapshot("k", b'{"secret": 1}'), PresenceSnapshot("k", b"{}")),
    )
    connection = ConnectionSnapshot("conn_1", "a", "anon", "192.0.2.1", 1.5, ("realtime:room",))
    change = ChangeSnapshot("room", "a", "*", None, "todos", None)
    snapshot = Snapshot(2.5, Totals(1, 2, 3, 4, 5), (channel,), (connection,), (change,))

    assert json.loads(render_report(lambda _: snapshot, lambda _: TREE)) == {
        "at": 2.5,
        "totals": {
            "connections": 1,
            "channels": 2,
            "subscribers": 3,
            "presences": 4,
            "change_subscriptions": 5,
        },
        "channels": [
            {
                "name": "room",
                "private": True,
                "subscribers": 3,
                "presences": 2,
                "users": ["a", "b"],
                "present": ["k"],
            }
        ],
        "connections": [
            {
                "id": "conn_1",
                "user": "a",
                "role": "anon",
                "peer": "192.0.2.1",
                "opened_at": 1.5,
                "topics": ["realtime:room"],
            }
        ],
        "changes": [
            {
                "channel": "room",
                "user": "a",
                "kind": "*",
                "schema": None,
                "table": "todos",
                "filter": None,
            }
        ],
        "tree": TREE,
    }


def test_as_much_is_listed_as_fits():
    report = json.loads(render_report(lambda bounds: crowded(bounds, "x"), tree))

    assert len(report["channels"]) == BOUNDS.channels
    assert len(report["tree"]["supervisors"][0]["actors"]) == BOUNDS.channels


def test_long_names_are_cut_and_make_the_lists_shorter():
    data = render_report(lambda bounds: crowded(bounds, "é" * 100_000), tree)
    report = json.loads(data)

    assert len(data) <= SIZE_LIMIT_BYTES
    assert 0 < len(report["channels"]) < BOUNDS.channels
    assert report["channels"][0]["name"] == "é" * NAME_LIMIT + "…"
    assert report["totals"]["channels"] == 1_000_000
