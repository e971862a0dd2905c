"""Nothing said on one topic is heard on another, nor across privacy, whatever the topics are called.

Hypothesis draws names that are easily confused, who joins which of them how, and who says what in which form.
Everybody must hear exactly what was said on the own topics of the own privacy.
"""

from __future__ import annotations

import json
from collections import defaultdict

import pytest
import trio
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.realtime.ports import Identity
from actors.realtime.posting import Poster
from protocol.commands import PostedBroadcast
from protocol.events import TextBroadcast, UserBroadcast
from protocol.phoenix.binary import STRING_LIMIT_BYTES, encode_user_broadcast_push
from protocol.phoenix.envelope import BinaryPush
from tests.support.memory_tenant import open_stage

PREFIX = "realtime:"
SERVICE = Identity("service_role", b"{}", 1e12)
#: As long as a binary frame can carry, as long as the sub-topic alone could be, and longer.
LONG = [size * "x" for size in (STRING_LIMIT_BYTES - len(PREFIX), STRING_LIMIT_BYTES, 300)]


def lookalikes(name: str) -> list[str]:
    """Return names that a careless key, prefix or separator would take for `name`."""
    return [
        name,
        f"{name}:",
        f"{name}:{name}",
        f"{name}x",
        f"private:{name}",
        f"public:{name}",
        f"{PREFIX}{name}",
        f"{name}-private",
        name.upper(),
        f" {name}",
    ]


NAMES = st.one_of(
    st.sampled_from(["room", "é", "🎭", "%2F", "*", '"', "a\nb", *LONG]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
)
TOPICS = NAMES.map(lookalikes).flatmap(
    lambda names: st.lists(st.sampled_from(names), min_size=2, max_size=4, unique=True)
)


@frozen
class Membership:
    """How a client is in a topic; `echo` is to hear oneself."""

    private: bool
    echo: bool


@frozen
class Said:
    """One broadcast: by whom, on which topic, in which form; over HTTP by nobody, with a privacy of its own."""

    client: int | None
    topic: str
    form: str
    private: bool = False


@frozen
class Room:
    """What Hypothesis drew: each client's version and memberships, and what is said in order."""

    clients: list[tuple[str, dict[str, Membership]]]
    said: list[Said]


@st.composite
def rooms(draw) -> Room:
    topics = draw(TOPICS)
    membership = st.builds(Membership, private=st.booleans(), echo=st.booleans())
    client = st.tuples(
        st.sampled_from(["1.0.0", "2.0.0"]),
        st.dictionaries(st.sampled_from(topics), membership, min_size=1),
    )
    clients = draw(st.lists(client, min_size=2, max_size=6))
    said = st.builds(
        Said,
        client=st.none() | st.integers(0, len(clients) - 1),
        topic=st.sampled_from(topics),
        form=st.sampled_from(["text", "json", "bytes"]),
        private=st.booleans(),
    )
    return Room(clients, draw(st.lists(said, min_size=1, max_size=12)))


def form_of(room: Room, said: Said) -> str:
    """Return the form in which a client can say it: the binary ones need 2.0.0 and a short topic."""
    if said.client is None:
        return said.form
    version, _ = room.clients[said.client]
    return said.form if carries_bytes(version, said.topic) else "text"


def privacy_of(room: Room, said: Said) -> bool | None:
    """Return the privacy in which something is said, None if its client is not in the topic."""
    if said.client is None:
        return said.private
    _, memberships = room.clients[said.client]
    membership = memberships.get(said.topic)
    return None if membership is None else membership.private


def expected(room: Room) -> list[list[tuple[str, int]]]:
    """Return for each client which topics it must hear which numbers on."""
    heard = [[] for _ in room.clients]
    for number, said in enumerate(room.said):
        for listener, (version, memberships) in enumerate(room.clients):
            membership = memberships.get(said.topic)
            if membership is None or membership.private != privacy_of(room, said):
                continue
            if listener == said.client and not membership.echo:
                continue
            if form_of(room, said) == "bytes" and not carries_bytes(version, said.topic):
                continue
            heard[listener].append((said.topic, number))
    return heard


def carries_bytes(version: str, topic: str) -> bool:
    """Whether bytes said on a topic reach a client of that version."""
    return version == "2.0.0" and len(f"{PREFIX}{topic}".encode()) <= STRING_LIMIT_BYTES


def message_of(form: str, number: int) -> TextBroadcast | UserBroadcast:
    payload = json.dumps({"number": number}).encode()
    match form:
        case "text":
            return TextBroadcast(b'{"type":"broadcast","event":"e","payload":%b}' % payload)
        case "json":
            return UserBroadcast("e", payload, is_binary=False)
        case _:
            return UserBroadcast("e", b"\xff" + payload, is_binary=True)


def say(client, topic: str, message: TextBroadcast | UserBroadcast) -> None:
    """Push a broadcast over the client's socket."""
    if isinstance(message, TextBroadcast):
        client.push("broadcast", json.loads(message.payload), topic)
    else:
        push = BinaryPush(None, None, topic, "e", message)
        client.send_raw(encode_user_broadcast_push(push))


def heard_by(messages) -> list[tuple[str, int]]:
    heard = []
    for message in messages:
        payload = message.payload
        if message.event == "phx_reply":
            continue
        if isinstance(payload, bytes):
            payload = {"payload": json.loads(payload.removeprefix(b"\xff"))}
        heard.append((message.topic.removeprefix(PREFIX), payload["payload"]["number"]))
    return heard


async def play(room: Room) -> None:
    async with open_stage() as stage:
        clients = [stage.connect(version, role="service_role") for version, _ in room.clients]
        for client, (_, memberships) in zip(clients, room.clients, strict=True):
            for topic, membership in memberships.items():
                await client.joined(
                    PREFIX + topic,
                    private=membership.private,
                    broadcast={"self": membership.echo},
                )

        poster = Poster(stage.tenant, stage.metrics)
        for number, said in enumerate(room.said):
            message = message_of(form_of(room, said), number)
            if said.client is None:
                posted = PostedBroadcast(said.topic, said.private, message)
                await poster.publish(SERVICE, b"{}", [posted])
            else:
                say(clients[said.client], PREFIX + said.topic, message)

        for client, wanted in zip(clients, expected(room), strict=True):
            heard = heard_by(await client.received())
            assert sorted(heard) == sorted(wanted)
            # What one client says on one topic arrives in its order.
            by_sender = defaultdict(list)
            for topic, number in heard:
                by_sender[topic, room.said[number].client].append(number)
            assert all(numbers == sorted(numbers) for numbers in by_sender.values())


@pytest.mark.capability("M5-029", "M5-053", "AG-001", "M5-019")
@given(room=rooms(), order=st.random_module())
def test_everybody_hears_just_what_is_said_on_their_topics(room, order):
    trio.run(play, room, clock=MockClock(autojump_threshold=0))


def test_the_oracle_keeps_topics_and_privacy_apart():
    public, private = Membership(False, False), Membership(True, False)
    room = Room(
        [
            ("2.0.0", {"a": public}),
            ("2.0.0", {"a": public, "b": public}),
            ("2.0.0", {"a": private}),
            ("1.0.0", {"a": public}),
        ],
        [
            Said(0, "a", "text"),
            Said(0, "a", "bytes"),
            Said(0, "b", "text"),
            Said(2, "a", "text"),
        ],
    )

    assert expected(room) == [[], [("a", 0), ("a", 1)], [], [("a", 0)]]
