"""Tokens that are let in, and every kind that is not."""

from __future__ import annotations

import base64
import json
import warnings

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.auth.tokens import JwtVerifier, mint
from actors.realtime.errors import Refused, TokenExpired, Unauthorized

SECRET = "a-secret-of-more-than-thirty-two-bytes"
NOW = 1_800_000_000.0
VERIFIER = JwtVerifier(SECRET, lambda: NOW)
GOOD = {"role": "anon", "exp": NOW + 60}


def token(claims, secret=SECRET, algorithm="HS256", headers=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode(claims, secret, algorithm=algorithm, headers=headers)


def part(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_a_good_token_gives_role_expiry_and_the_claims_as_signed():
    identity = await VERIFIER.verify(token({**GOOD, "sub": "u1"}))

    assert (identity.role, identity.expires_at) == ("anon", NOW + 60)
    assert json.loads(identity.claims) == {**GOOD, "sub": "u1"}


async def test_a_minted_token_is_good_until_it_expires():
    assert (await VERIFIER.verify(mint(SECRET, "service_role", NOW + 1))).role == "service_role"
    with pytest.raises(TokenExpired):
        await VERIFIER.verify(mint(SECRET, "service_role", NOW))


async def test_percent_encoding_and_white_space_are_undone():
    good = token(GOOD)

    assert (await VERIFIER.verify(f" {good[:10]}%0A\n{good[10:]}\t")).role == "anon"


async def test_an_expired_token_says_since_when():
    with pytest.raises(TokenExpired) as caught:
        await VERIFIER.verify(token({"role": "anon", "exp": NOW - 42}))

    assert caught.value.reason == "Token has expired 42 seconds ago"


async def test_an_identity_is_good_for_so_many_seconds_and_remembers_its_token():
    good = token(GOOD)
    identity = await VERIFIER.verify(good)

    assert VERIFIER.seconds_left(identity) == 60
    assert identity.token == good


NO_SIGNER = "Failed to generate JWT signer, check your JWT secret or JWKS configuration"
BAD_SIGNATURE = "Failed to validate JWT signature"
MISSING = "Fields `role` and `exp` are required in JWT"
MALFORMED = "The token provided is not a valid JWT"


@pytest.mark.parametrize(
    ("bad", "code", "reason"),
    [
        (token({"exp": NOW + 60}), "InvalidJWTToken", MISSING),
        (token({"role": "anon"}), "InvalidJWTToken", MISSING),
        (token({"role": None, "exp": NOW + 60}), "InvalidJWTToken", MISSING),
        (token({"role": ["anon"], "exp": NOW + 60}), "InvalidJWTToken", MISSING),
        (
            token(GOOD, "another-secret-of-more-than-32-bytes"),
            "JwtSignatureError",
            BAD_SIGNATURE,
        ),
        (token(GOOD, "", "none"), "JwtSignerError", NO_SIGNER),
        (f"{part({'alg': 'RS256'})}.{part(GOOD)}.AAAA", "JwtSignerError", NO_SIGNER),
        (f"{part({'alg': 'HS256'})}.{part(GOOD)}.", "JwtSignatureError", BAD_SIGNATURE),
        ("", "MalformedJWT", MALFORMED),
        ("nonsense", "MalformedJWT", MALFORMED),
        ("a.b.c", "MalformedJWT", MALFORMED),
        (f"{part(b'not json')}.{part(GOOD)}.AAAA", "MalformedJWT", MALFORMED),
        (f"{part(['HS256'])}.{part(GOOD)}.AAAA", "MalformedJWT", MALFORMED),
        ("é" * 100, "MalformedJWT", MALFORMED),
        ("." * 100_000, "MalformedJWT", MALFORMED),
    ],
)
async def test_a_bad_token_is_refused_in_the_words_of_the_contract(bad, code, reason):
    with pytest.raises(Unauthorized) as caught:
        await VERIFIER.verify(bad)

    assert (caught.value.code, caught.value.reason) == (code, reason)


@pytest.mark.parametrize("payload", [b"[1]", b"7", b"nonsense", b"[" * 5000])
async def test_signed_claims_that_are_no_object_are_malformed(payload):
    signed = jwt.api_jws.encode(payload, SECRET, algorithm="HS256")

    with pytest.raises(Unauthorized) as caught:
        await VERIFIER.verify(signed)

    assert caught.value.code == "MalformedJWT"


@pytest.mark.parametrize("claim", ["exp", "iat"])
@pytest.mark.parametrize("value", ["soon", True, [1], 1e300])
async def test_a_time_that_is_no_time_is_refused(claim, value):
    with pytest.raises(Refused):
        await VERIFIER.verify(token({**GOOD, claim: value}))


@given(st.text())
async def test_whatever_is_sent_is_refused_and_nothing_else_happens(text):
    with pytest.raises(Refused):
        await VERIFIER.verify(text)


async def test_neither_token_nor_claims_show_in_what_may_be_logged():
    identity = await VERIFIER.verify(token({**GOOD, "sub": "hidden-subject"}))

    assert "hidden-subject" not in repr(identity)
