"""Stock clients on private channels: what policies of the database grant is what they can do, and no more."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.compat.client import KINDS, SUPABASE_JS_V1, SUPABASE_JS_V2, running_client
from tests.support.tokens import mint

ALICE = "00000000-0000-4000-8000-00000000000a"
BOB = "00000000-0000-4000-8000-00000000000b"
#: Policies by the first word of a topic, so that all tests share one database. `auth.jwt() -> 'can'` says more.
POLICIES = {
    "read open": ("select", "realtime.topic() like 'open:%'"),
    "write open": ("insert", "realtime.topic() like 'open:%'"),
    "read own": ("select", "realtime.topic() like 'own:%:' || (select auth.uid())"),
    "write own": ("insert", "realtime.topic() like 'own:%:' || (select auth.uid())"),
    "read by claim": (
        "select",
        "realtime.topic() like 'claim:%' and (auth.jwt() -> 'can') ? ('read ' || extension)",
    ),
    "write by claim": (
        "insert",
        "realtime.topic() like 'claim:%' and (auth.jwt() -> 'can') ? ('write ' || extension)",
    ),
    "read failing": (
        "select",
        "case when realtime.topic() like 'failing:%' then realtime.topic()::int = 1 end",
    ),
}
EVERYTHING = ["read broadcast", "read presence", "write broadcast", "write presence"]


@pytest.fixture(scope="module", autouse=True)
def policies(server):
    for name, (command, condition) in POLICIES.items():
        clause = "using" if command == "select" else "with check"
        server.execute(
            f'create policy "{name}" on realtime.messages for {command} to authenticated'
            f" {clause} ({condition})"
        )
    yield
    server.execute(*(f'drop policy "{name}" on realtime.messages' for name in POLICIES))


@pytest.fixture
def open_as(server):
    """Start a client of a kind with the token of a user, who can do what `can` says on topics `claim:…`."""
    with ExitStack() as stack:
        yield lambda kind, sub=ALICE, role="authenticated", **claims: stack.enter_context(
            running_client(kind, server.url, mint(role, sub=sub, **claims))
        )


def refusal(client, topic) -> str:
    client.subscribe(topic, private=True)
    error = client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")["error"]
    return error or ""


def notice(client, topic) -> str:
    """Return why a channel that was joined is over."""
    if "system errors" in client.kind.lacks:
        error = client.heard.expect("status", topic=topic, status="CHANNEL_ERROR")["error"]
        client.heard.expect("status", topic=topic, status="CLOSED")
        return error
    told = client.heard.expect("system", topic=topic, extension="system", status="error")
    client.heard.expect("status", topic=topic, status="CLOSED")
    return told["message"]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_topic_that_no_policy_opens_is_refused_and_one_that_is_opened_is_joined(
    open_as, topic, kind
):
    # Appendix B, authorization check.
    client = open_as(kind)

    assert f"this Channel topic: restricted:{topic}" in refusal(client, f"restricted:{topic}")
    client.join(f"open:{topic}", private=True)


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_members_of_a_private_channel_hear_each_other_and_nobody_of_the_public_one(
    open_as, topic, kind
):
    name = f"open:{topic}"
    one, other, outsider = (open_as(kind) for _ in range(3))
    one.join(name, private=True, echo=True, ack=True)
    other.join(name, private=True)
    outsider.join(name)
    outsider.join(f"private:{name}")

    one.send(name, "hello", {"n": 1})

    assert one.heard.expect("sent", topic=name)["answer"] == "ok"
    for client in (one, other):
        assert client.heard.expect("broadcast", topic=name)["payload"] == {"n": 1}
    # What comes to the outsider comes in order: had it heard the first, it would be before this one.
    stranger = open_as(kind)
    stranger.join(name)
    stranger.send(name, "public", {})
    assert outsider.heard.expect("broadcast")["name"] == "public"


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("role", ["anon", "potato", "none"])
def test_a_role_that_policies_do_not_name_stays_out(open_as, topic, kind, role):
    client = open_as(kind, role=role)

    assert "Unauthorized" in refusal(client, f"open:{topic}")


@pytest.mark.capability("SB-004")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_policy_that_names_the_subject_lets_in_nobody_else(open_as, topic, kind):
    name = f"own:{topic}:{ALICE}"
    alice, bob = open_as(kind, ALICE), open_as(kind, BOB)

    alice.join(name, private=True)
    assert "Unauthorized" in refusal(bob, name)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_policy_that_fails_is_told_as_a_refusal(server, open_as, topic, kind):
    client = open_as(kind)

    assert "You do not have permissions to read" in refusal(client, f"failing:{topic}")
    said = server.said.expect("policy.failed", topic=f"failing:{topic}")
    assert (said["sqlstate"], said["role"]) == ("22P02", "authenticated")


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_who_may_only_read_is_heard_by_nobody_but_hears_the_service_role(open_as, topic, kind):
    name = f"claim:{topic}"
    reader, member = open_as(kind, can=["read broadcast"]), open_as(kind, can=EVERYTHING)
    service = open_as(kind, role="service_role")
    for client in (reader, member, service):
        client.join(name, private=True)

    reader.send(name, "unheard", {})
    service.send(name, "heard", {})

    assert reader.heard.expect("broadcast", topic=name)["name"] == "heard"
    assert member.heard.expect("broadcast", topic=name)["name"] == "heard"


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_a_private_broadcast_over_http_is_for_who_may_write(open_as, topic, kind):
    name = f"claim:{topic}"
    member = open_as(kind, can=EVERYTHING)
    reader, writer = open_as(kind, BOB, can=["read broadcast"]), open_as(kind, can=EVERYTHING)
    member.join(name, private=True)

    assert "Unauthorized" in (reader.post(name, "unheard", {}, private=True) or "")
    assert writer.post(name, "heard", {}, private=True) is None

    assert member.heard.expect("broadcast", topic=name)["name"] == "heard"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_who_may_read_and_write_presence_is_present(open_as, topic, kind):
    name = f"claim:{topic}"
    one, other = open_as(kind, can=EVERYTHING), open_as(SUPABASE_JS_V2, BOB, can=EVERYTHING)
    other.join(name, private=True, presence="other")
    one.join(name, private=True, presence="one")

    one.track(name, {"n": 1})

    assert one.heard.expect("tracked", topic=name)["answer"] == "ok"
    for client in (one, other):
        join = client.heard.expect("presence", topic=name, kind="join", key="one")
        assert join["states"] == [{"n": 1}]


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
@pytest.mark.parametrize(
    "can", [["read presence"], ["read broadcast", "read presence"]], ids=["presence", "both"]
)
def test_who_may_not_write_presence_sees_others_and_is_refused(open_as, topic, kind, can):
    name = f"claim:{topic}"
    one, other = open_as(kind, can=can), open_as(kind, BOB, can=EVERYTHING)
    one.join(name, private=True, presence="one")
    other.join(name, private=True, presence="other")

    one.track(name, {"n": 1})
    other.track(name, {"n": 2})

    assert one.heard.expect("tracked", topic=name)["answer"] == "error"
    join = one.heard.expect("presence", topic=name, kind="join")
    assert (join["key"], join["states"]) == ("other", [{"n": 2}])


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_who_has_presence_alone_hears_no_broadcasts(open_as, topic, kind):
    name = f"claim:{topic}"
    one = open_as(kind, can=["read presence", "write presence"])
    other = open_as(kind, BOB, can=EVERYTHING)
    one.join(name, private=True, presence="one")
    other.join(name, private=True, presence="other")

    one.track(name, {"n": 1})
    other.heard.expect("presence", topic=name, kind="join", key="one")
    other.send(name, "unheard", {})
    other.track(name, {"n": 2})

    one.heard.expect("presence", topic=name, kind="join", key="other")
    assert one.heard.passed_over("broadcast", topic=name) == []


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
@pytest.mark.parametrize("presence", ["one", None], ids=["asked for", "by its track"])
def test_who_may_not_read_presence_is_told_nothing_of_it(open_as, topic, kind, presence):
    name = f"claim:{topic}"
    one = open_as(kind, can=["read broadcast", "write presence"])
    other = open_as(kind, BOB, can=EVERYTHING)
    one.join(name, private=True, **({"presence": presence} if presence else {}))
    other.join(name, private=True, presence="other")

    one.track(name, {"n": 1})
    assert one.heard.expect("tracked", topic=name)["answer"] == "ok"
    other.heard.expect("presence", topic=name, kind="join")
    other.track(name, {"n": 2})
    other.heard.expect("presence", topic=name, kind="join", key="other")
    other.send(name, "last", {})

    one.heard.expect("broadcast", topic=name, name="last")
    assert one.heard.passed_over("presence", topic=name) == []


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (EVERYTHING, [], "You do not have permissions to read from"),
        (EVERYTHING, ["read broadcast"], "You no longer have permission to read from"),
        (["read presence"], ["write presence"], "You do not have permissions to read from"),
    ],
    ids=["nothing left", "no presence", "presence was all"],
)
def test_a_token_that_grants_less_to_read_closes_the_channel(
    open_as, topic, kind, before, after, words
):
    name = f"claim:{topic}"
    client = open_as(kind, can=before)
    client.join(name, private=True, presence="one")

    client.set_auth(mint("authenticated", sub=ALICE, can=after))

    assert notice(client, name) == f"{words} this Channel topic: {name}"


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_a_token_that_grants_the_same_keeps_the_channel_and_less_to_write_silences_it(
    open_as, topic, kind
):
    name = f"claim:{topic}"
    one, other = open_as(kind, can=EVERYTHING), open_as(kind, BOB, can=EVERYTHING)
    for client in (one, other):
        client.join(name, private=True, presence=client.kind.vsn)
    one.send(name, "first", {})
    other.heard.expect("broadcast", topic=name, name="first")

    one.set_auth(mint("authenticated", sub=ALICE, can=["read broadcast", "read presence"]))
    one.send(name, "unheard", {})
    other.send(name, "heard", {})
    one.heard.expect("broadcast", topic=name, name="heard")
    one.set_auth(mint("authenticated", sub=ALICE, can=EVERYTHING))
    one.send(name, "second", {})

    assert other.heard.expect("broadcast", topic=name)["name"] == "second"
    assert one.heard.passed_over("status", topic=name, status="CLOSED") == []


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_a_token_that_grants_broadcasts_lets_them_in(open_as, topic, kind):
    name = f"claim:{topic}"
    one = open_as(kind, can=["read presence"])
    other = open_as(kind, BOB, can=EVERYTHING)
    one.join(name, private=True, presence="one")
    other.join(name, private=True, ack=True)
    other.send(name, "unheard", {})
    other.heard.expect("sent", topic=name, name="unheard")

    one.set_auth(mint("authenticated", sub=ALICE, can=EVERYTHING))
    # The token is sent before this and is worked on first.
    one.send(name, "after", {})
    other.heard.expect("broadcast", topic=name, name="after")
    other.send(name, "heard", {})

    assert one.heard.expect("broadcast", topic=name)["name"] == "heard"


@pytest.mark.parametrize("kind", [SUPABASE_JS_V1, SUPABASE_JS_V2], ids=str)
def test_a_gateway_s_key_in_place_of_a_token_changes_nothing_and_the_old_one_still_expires(
    server, topic, kind
):
    name = f"open:{topic}"
    key = mint("authenticated", sub=ALICE, expires_at=int(time.time()) + 5)  # noqa: TID251
    with running_client(kind, server.url, key) as client:
        client.join(name, private=True)

        client.set_auth("sb_publishable_something")

        assert notice(client, name).startswith("Token has expired")
