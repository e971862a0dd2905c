"""Stock clients are present: they see who is there, who comes and who goes, each in its library's way."""

from __future__ import annotations

import itertools

import pytest

from tests.compat.client import KINDS, SUPABASE_JS_V2, running_client
from tests.support.operating import Operator
from tests.support.server import running_server
from tests.support.tokens import mint

BOB = {"name": "Bob", "nested": {"list": [1, None, "é🎭"]}}


def present(client, topic, key, state):
    """Join and track, and wait until the client sees itself."""
    client.join(topic, presence=key)
    client.track(topic, state)
    assert client.heard.expect("tracked", topic=topic)["answer"] == "ok"
    client.heard.expect("presence", topic=topic, kind="join", key=key)


def synchronised(client, topic, state):
    """Wait until the client presents just this state; fails by the patience of `expect`."""
    for _ in itertools.count():
        if client.heard.expect("presence", topic=topic, kind="sync")["state"] == state:
            return


@pytest.mark.capability(
    "SB-018", "SB-024", "SB-043", "SB-194", "M5-031", "M5-054", "AG-016", "AG-045"
)
def test_a_newcomer_sees_who_is_there(client, start_client, topic):
    bob = start_client(SUPABASE_JS_V2)
    present(bob, topic, "bob", BOB)

    client.join(topic, presence="ann")

    synchronised(client, topic, {"bob": [BOB]})
    join = client.heard.expect("presence", topic=topic, kind="join", key="bob")
    assert join["states"] == [BOB]


@pytest.mark.capability(
    "SB-012", "SB-019", "SB-044", "SB-191", "SB-192", "M5-035", "M5-066", "AG-017"
)
def test_others_see_who_comes(client, start_client, topic):
    client.join(topic, presence="ann")
    synchronised(client, topic, {})
    bob = start_client(SUPABASE_JS_V2)

    present(bob, topic, "bob", BOB)

    join = client.heard.expect("presence", topic=topic, kind="join", key="bob")
    assert join["states"] == [BOB]
    synchronised(client, topic, {"bob": [BOB]})


@pytest.mark.capability("SB-085")
def test_a_client_sees_itself(client, topic):
    present(client, topic, "ann", BOB)

    synchronised(client, topic, {"ann": [BOB]})


@pytest.mark.capability("SB-086", "SB-193", "AG-018")
def test_others_see_who_untracks(client, start_client, topic):
    client.join(topic, presence="ann")
    bob = start_client(SUPABASE_JS_V2)
    present(bob, topic, "bob", BOB)

    bob.untrack(topic)

    assert bob.heard.expect("untracked", topic=topic)["answer"] == "ok"
    leave = client.heard.expect("presence", topic=topic, kind="leave", key="bob")
    assert leave["states"] == [BOB]
    synchronised(client, topic, {})


@pytest.mark.capability("SB-078", "M5-032", "M5-055")
def test_others_see_who_leaves_the_channel(client, start_client, topic):
    observer = start_client(SUPABASE_JS_V2)
    observer.join(topic, presence="observer")
    present(client, topic, "ann", {})

    client.remove(topic)

    observer.heard.expect("presence", topic=topic, kind="leave", key="ann")


@pytest.mark.capability("SB-087")
def test_others_see_who_is_gone_without_a_word(client, server, topic):
    client.join(topic, presence="ann")
    with running_client(SUPABASE_JS_V2, server.url, mint()) as bob:
        present(bob, topic, "bob", BOB)

    client.heard.expect("presence", topic=topic, kind="leave", key="bob")
    synchronised(client, topic, {})


@pytest.mark.capability("SB-090", "M5-081")
def test_two_clients_with_one_key_stand_side_by_side(client, start_client, topic):
    other = start_client(SUPABASE_JS_V2)
    present(client, topic, "ann", {"on": "phone"})
    present(other, topic, "ann", {"on": "desk"})

    both = {"on": "phone"}, {"on": "desk"}
    for one in (client, other):
        state = {}
        while len(state.get("ann", ())) < 2:
            state = one.heard.expect("presence", topic=topic, kind="sync")["state"]
        assert sorted(state["ann"], key=str) == sorted(both, key=str)


def test_tracking_something_else_takes_its_place(client, start_client, topic):
    observer = start_client(SUPABASE_JS_V2)
    observer.join(topic, presence="observer")
    present(client, topic, "ann", {"mood": "good"})

    client.track(topic, {"mood": "better"})

    synchronised(observer, topic, {"ann": [{"mood": "better"}]})


@pytest.mark.capability("AG-020")
def test_broadcast_and_presence_share_a_topic(client, start_client, topic):
    other = start_client(SUPABASE_JS_V2)
    present(client, topic, "ann", {})
    other.join(topic)

    other.send(topic, "hello", {"x": 1})

    assert client.heard.expect("broadcast", topic=topic)["payload"] == {"x": 1}


@pytest.mark.capability("AG-015")
def test_a_client_without_a_key_gets_one(client, start_client, topic):
    client.join(topic, presence="ann")
    bob = start_client(SUPABASE_JS_V2)
    bob.join(topic, presence="")

    bob.track(topic, BOB)

    join = client.heard.expect("presence", topic=topic, kind="join")
    assert len(join["key"]) == 36
    assert join["states"] == [BOB]


@pytest.mark.capability("AG-044")
def test_presence_is_synchronised_again_when_the_server_was_restarted(own_directory, topic):
    with (
        running_server(own_directory / "data") as server,
        running_client(SUPABASE_JS_V2, server.url, mint()) as ann,
        running_client(SUPABASE_JS_V2, server.url, mint()) as bob,
    ):
        ann.join(topic, presence="ann")
        present(bob, topic, "bob", BOB)
        synchronised(ann, topic, {"bob": [BOB]})

        assert server.stop() == 0
        server.start()
        for client in (ann, bob):
            client.heard.expect("status", topic=topic, status="SUBSCRIBED")
        bob.track(topic, {"name": "Bob", "again": True})

        synchronised(ann, topic, {"bob": [{"name": "Bob", "again": True}]})


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_private_channel_has_a_presence_of_its_own(server, start_client, topic, kind):
    public = start_client(SUPABASE_JS_V2)
    key = mint("service_role")
    with (
        running_client(kind, server.url, key) as ann,
        running_client(SUPABASE_JS_V2, server.url, key) as bob,
    ):
        public.join(topic, presence="public")
        for client, name in ((ann, "ann"), (bob, "bob")):
            client.join(topic, presence=name, private=True)
            client.track(topic, {"name": name})

        synchronised(ann, topic, {"ann": [{"name": "ann"}], "bob": [{"name": "bob"}]})
        assert public.heard.passed_over("presence", kind="join") == []


def test_nobody_notices_that_what_keeps_presence_crashed(server, client, start_client, topic):
    bob, late = start_client(SUPABASE_JS_V2), start_client(SUPABASE_JS_V2)
    present(bob, topic, "bob", BOB)
    client.join(topic, presence="ann")
    synchronised(client, topic, {"bob": [BOB]})

    for name in ("presence", "channel", "presence"):
        Operator(server.url).crash(f"{name}:public:{topic}")
    present(late, topic, "late", {})

    synchronised(client, topic, {"bob": [BOB], "late": [{}]})
    assert client.heard.passed_over("presence", kind="leave") == []
    assert client.heard.passed_over("status", status="CHANNEL_ERROR") == []


DEEP: list = []
for _ in range(300):
    DEEP = [DEEP]


def test_what_one_client_tracks_hides_nobody_from_another(client, start_client, topic):
    mallory, bob = start_client(SUPABASE_JS_V2), start_client(SUPABASE_JS_V2)
    mallory.join(topic, presence="mallory")
    client.join(topic, presence="ann")

    mallory.track(topic, {"deep": DEEP})
    assert mallory.heard.expect("tracked", topic=topic)["answer"] == "error"
    # realtime-py looks refs up in a set, and takes the one in the payload for the server's.
    for number in range(2):
        mallory.track(
            topic, {"n": number, "presence_ref": [], "phx_ref": {}, "phx_ref_prev": 5}
        )
        assert mallory.heard.expect("tracked", topic=topic)["answer"] == "ok"
    present(bob, topic, "bob", BOB)

    synchronised(client, topic, {"mallory": [{"n": 1}], "bob": [BOB]})
