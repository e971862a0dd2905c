"""The table of tracks: what it says is what was written, and what is gone leaves nothing behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.realtime.messages import JoinKey
from actors.realtime.tracks import Track, Tracks
from actors.telemetry.metrics import Metrics
from protocol.presence.meta import Meta

OWNERS = ("conn_1", "conn_2")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "remove", "drop", "take"]),
        st.sampled_from(OWNERS),
        st.integers(1, 3),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(STEPS)
def test_the_table_knows_who_tracks_what_and_who_changed(steps):
    metrics = Metrics()
    tracks, truth, changed = Tracks(metrics), {}, set()
    for what, owner, number, size in steps:
        join = JoinKey(owner, number)
        match what:
            case "write":
                truth[join] = Track(Meta("key", b"x" * size, "ref"), owner)
                tracks.write(join, truth[join])
                changed.add(join)
            case "remove":
                assert tracks.remove(join) is truth.get(join)
                changed |= {join} if truth.pop(join, None) else set()
            case "drop":
                tracks.drop(owner)
                gone = {key for key in truth if key.connection == owner}
                changed |= gone
                truth = {key: track for key, track in truth.items() if key not in gone}
            case "take":
                assert tracks.take_changed() == {key: key.connection for key in changed}
                changed = set()

        assert len(tracks) == len(truth) == metrics.presences._value.get()
        assert tracks.size_bytes == sum(track.size_bytes for track in truth.values())
        assert all(tracks.get(key) is track for key, track in truth.items())
        assert [tracks.is_owner(one) for one in OWNERS] == [
            any(key.connection == one for key in truth) for one in OWNERS
        ]


def test_what_is_gone_leaves_nothing_behind():
    tracks = Tracks(Metrics())
    for number in range(100):
        tracks.write(JoinKey("conn_1", number), Track(Meta("k", b"{}", "r"), "conn_1"))
    tracks.drop("conn_1")
    tracks.take_changed()

    assert [
        table for table in (tracks._entries, tracks._of_owner, tracks._changed) if table
    ] == []
    assert tracks.size_bytes == 0
