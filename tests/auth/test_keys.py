"""Key sets as issuers publish them, and as nobody should."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.auth.keys import MAX_KEYS, InvalidKeySet, parse_key_set
from tests.support.signing import ec_key, ed_key, key_set, rsa_key, secret_key

RSA, EC, ED, SHARED = rsa_key(), ec_key(), ed_key(), secret_key("s" * 40)


def test_keys_are_found_by_type_and_id():
    keys = parse_key_set(key_set(RSA, EC, ED, SHARED))

    assert len(keys) == 4
    assert keys.find("RSA", "rsa").algorithms == {"RS256"}
    assert keys.find("EC", "ec").algorithms == {"ES256"}
    assert keys.find("OKP", "ed").algorithms == {"EdDSA", "Ed25519"}
    assert keys.find("oct", "oct").algorithms == {"HS256"}
    assert keys.find("RSA", "ec") is None
    assert keys.find("RSA", "other") is None


def test_of_two_keys_with_one_id_the_first_is_found():
    other = rsa_key("rsa", "RS512", number=1)

    assert parse_key_set(key_set(RSA, other)).find("RSA", "rsa").algorithms == {"RS256"}


def test_of_a_private_key_the_public_half_is_kept():
    private = RSA.jwk() | {"d": "AQAB", "p": "AQAB", "q": "AQAB"}

    material = parse_key_set(key_set(private)).find("RSA", "rsa").material

    assert material.public_numbers() == RSA.private.public_key().public_numbers()
    assert not hasattr(material, "private_numbers")


def test_no_keys_are_a_key_set():
    assert len(parse_key_set('{"keys": [], "more": 1}')) == 0


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (RSA.jwk(kid=None), "has no kid"),
        (RSA.jwk(kid=7), "has no kid"),
        (RSA.jwk(use="enc"), "is not for verifying signatures"),
        (RSA.jwk(key_ops=["sign"]), "is not for verifying signatures"),
        (RSA.jwk(key_ops="verify"), "is not for verifying signatures"),
        (RSA.jwk(kty=None), "is of no known type and algorithm"),
        (RSA.jwk(kty=["RSA"]), "is of no known type and algorithm"),
        (RSA.jwk(alg="RSA-OAEP"), "is of no known type and algorithm"),
        (RSA.jwk(alg="PS256"), "is of no known type and algorithm"),
        (RSA.jwk(alg="HS256"), "is of no known type and algorithm"),
        (RSA.jwk(n=None), "is malformed"),
        (RSA.jwk(n=5), "is malformed"),
        (EC.jwk(crv="P-384"), "is of no known type and algorithm"),
        (EC.jwk(crv="secp256k1", alg=None), "is of no known type and algorithm"),
        (EC.jwk(x="AAAA"), "is malformed"),
        (ED.jwk(crv="X25519", alg=None), "is of no known type and algorithm"),
        (ED.jwk(crv="Ed448", alg=None), "is malformed"),
        (ED.jwk(x="AAAA"), "is malformed"),
        (SHARED.jwk(k=None), "is malformed"),
        (SHARED.jwk(k="c2hvcnQ"), "has less than 32 bytes"),
        (rsa_key("small", bits=1024).jwk(), "has less than 2048 bits"),
        ({"kty": "EC", "crv": "P-256", "kid": "x", "x": None, "y": []}, "is malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_that_cannot_be_used_is_left_out_with_a_reason(key, reason):
    keys = parse_key_set(key_set(EC, key, ED))

    assert keys.key_ids() == ("ec", "ed")
    assert keys.skipped == (f"key 2 {reason}",)


@pytest.mark.parametrize("entry", [None, 7, "key", ["kty"]])
def test_what_is_no_key_at_all_is_left_out(entry):
    assert parse_key_set(json.dumps({"keys": [entry]})).skipped == ("key 1 is no object",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"keys": 7}',
        '{"keys": {"kty": "RSA"}}',
        b"\xff",
        "[" * 9999,
    ],
)
def test_what_is_no_key_set_is_refused_in_words_for_an_operator(text):
    with pytest.raises(InvalidKeySet, match="a JWKS, which is a JSON object like"):
        parse_key_set(text)


def test_a_key_set_is_bounded_in_keys_and_bytes():
    with pytest.raises(InvalidKeySet, match="at most 100 keys"):
        parse_key_set(key_set(*[RSA.jwk()] * (MAX_KEYS + 1)))
    with pytest.raises(InvalidKeySet, match="at most 262144 bytes"):
        parse_key_set('{"keys": []}' + " " * 300_000)


VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["AQAB", "P-256", "sig"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=3,
)
JWKS = st.lists(
    st.one_of(
        VALUES,
        st.builds(
            lambda key, changed: key.jwk() | changed,
            st.sampled_from([RSA, EC, ED, SHARED]),
            st.dictionaries(
                st.sampled_from(
                    ["kty", "kid", "alg", "use", "key_ops", "crv", "x", "y", "n", "e", "k"]
                ),
                VALUES,
            ),
        ),
    )
)


@given(JWKS)
def test_every_entry_becomes_a_key_or_a_reason(entries):
    keys = parse_key_set(json.dumps({"keys": entries}))

    assert len(keys.keys) + len(keys.skipped) == len(entries)
