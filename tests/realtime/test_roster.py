"""What a roster knows of a connection, however many subscriptions that has in one channel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.realtime.messages import JoinKey
from actors.realtime.ports import Identity
from actors.realtime.roster import Roster, Subscription
from protocol.dialect import EncodeKey
from protocol.phoenix import PhoenixDialect

CONNECTIONS = ("ann", "bob")
KEYS = st.tuples(st.sampled_from(CONNECTIONS), st.integers(1, 4)).map(lambda key: JoinKey(*key))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "replace", "remove"]), KEYS), max_size=40)


def subscription(key: JoinKey) -> Subscription:
    """Return one of the connection that the key names, which stands for its own ref and outbox."""
    identity = Identity("anon", b"{}", 1e12)
    encode_key = EncodeKey(PhoenixDialect("2.0.0"), "realtime:room")
    return Subscription(key, key.connection, key.connection, encode_key, "1", identity)


@given(STEPS)
def test_what_a_connection_has_is_what_was_added_and_not_removed(steps):
    roster, expected = Roster(), {}
    for step, key in steps:
        if step == "remove":
            assert roster.remove(key) is expected.pop(key, None)
        elif step == "add" and key not in expected:
            expected[key] = subscription(key)
            roster.add(expected[key])
        elif step == "replace":
            assert roster.replace(subscription(key)) == (key in expected)
            if key in expected:
                expected[key] = roster.get(key)

        for connection in CONNECTIONS:
            own = {key for key in expected if key.connection == connection}
            assert {one.key for one in roster.of_connection(connection)} == own
            assert len(roster.of_connection(connection)) == len(own)
    assert len(roster) == len(expected)
