"""Nothing of a token, a claim or a key gets into the log, whatever happens to it."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog
import trio

from actors.auth.fetch import HttpKeySet
from actors.auth.keys import parse_key_set
from actors.auth.rotation import KeyRing, refresher_spec
from actors.auth.tokens import JwtVerifier, mint
from actors.realtime.tenant import Limits
from actors.telemetry.log import LogOptions, configure
from actors.telemetry.metrics import Metrics
from tests.support.memory_tenant import open_stage
from tests.support.signing import base64url, key_set, part, rsa_key, secret_key, sign
from tests.support.stage import stage

SECRET = "hidden-secret-of-more-than-32-bytes"
NOW = 1_800_000_000
CLAIMS = {
    "role": "authenticated",
    "exp": NOW + 600,
    "sub": "hidden-subject",
    "email": "hidden@x",
}
KEY = secret_key(SECRET)


@pytest.fixture
def stream():
    """What is logged, at the most talkative level."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure(LogOptions("n1", "debug"), stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def tokens() -> list[str]:
    header = {"alg": "HS256"}
    return [
        sign(header, CLAIMS, KEY),
        sign(header, CLAIMS | {"exp": NOW - 1}, KEY),
        sign(header, {"sub": "hidden-subject"}, KEY),
        sign(header, CLAIMS | {"exp": "hidden-time"}, KEY),
        sign(header, CLAIMS | {"iss": "hidden-issuer"}, KEY),
        sign(header, CLAIMS, secret_key("hidden-foreign-secret-of-32-bytes")),
        sign({"alg": "RS256", "kid": "hidden-kid"}, CLAIMS, rsa_key()),
        sign({"alg": "none"}, CLAIMS, KEY, "HS256"),
        f"{part(header)}.{base64url(b'hidden-nonsense')}.AAAA",
        "hidden-word",
        "sb_secret_hidden",
        "",
    ]


def assert_nothing_of(hidden: list[str], text: str) -> None:
    for token in filter(None, hidden):
        for piece in token.split("."):
            # Short pieces, like the signature AAAA above, are in every text.
            assert len(piece) < 8 or piece not in text
    assert "hidden" not in text


async def test_nothing_of_a_token_is_logged_whatever_becomes_of_it(autojump_clock, stream):
    ring = KeyRing(parse_key_set(key_set(secret_key("hidden-key-of-more-than-32-bytes!"))))
    begun = trio.current_time()
    verifier = JwtVerifier(
        SECRET, lambda: NOW + trio.current_time() - begun, ring, {"iss": "us"}
    )
    limits = Limits(join_error_delay_s=0.0)
    async with open_stage(limits=limits, verifier=verifier) as running:
        for number, token in enumerate(tokens()):
            topic = f"realtime:{number}"
            client = running.connect()
            client.join(topic, token=mint(SECRET, "anon", NOW + 300))
            await client.received()
            client.push("access_token", {"access_token": token}, topic)
            await client.received()
            client.join(f"{topic}-new", token=token)
            await client.received()
        await trio.sleep(1000)
        events = {json.loads(line)["event"] for line in stream.getvalue().splitlines()}

        assert {"subscription.closed", "join.refused"} <= events
        assert_nothing_of(tokens(), stream.getvalue())


async def test_nothing_of_the_address_but_where_it_is_gets_logged(stream):
    url = "http://user:hidden@127.0.0.1:1/keys?apikey=hidden"
    fetch = HttpKeySet(url, within_s=2.0)
    async with stage(refresher_spec(KeyRing(), fetch, 600.0, Metrics())):
        pass

    line = json.loads(stream.getvalue().splitlines()[0])
    assert line["event"] == "keys.unavailable"
    assert line["advice"].startswith("cannot fetch the JWKS at http://127.0.0.1/keys: ")
    assert "hidden" not in stream.getvalue()


async def test_a_verifier_that_crashes_does_not_log_its_token_either(autojump_clock, stream):
    def broken_clock():
        raise ZeroDivisionError

    limits = Limits(join_error_delay_s=0.0)
    verifier = JwtVerifier(SECRET, broken_clock)
    async with open_stage(limits=limits, verifier=verifier) as running:
        client = running.connect()
        client.join(token=tokens()[0])
        await client.received()

        assert running.reports != []
        assert_nothing_of(tokens(), repr(running.reports))
