"""Tokens that are let in, by the key they are signed with, and the times and claims that are asked of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.auth.keys import parse_key_set
from actors.auth.rotation import KeyRing
from actors.auth.tokens import JwtVerifier, mint
from actors.realtime.errors import Refused, TokenExpired, Unauthorized
from tests.support.signing import ec_key, ed_key, key_set, rsa_key, secret_key, sign

SECRET = "a-secret-of-more-than-thirty-two-bytes"
ANOTHER = "another-secret-of-more-than-32-bytes"
NOW = 1_800_000_000.0
GOOD = {"role": "anon", "exp": NOW + 60}
OWN = secret_key(SECRET)
VERIFIER = JwtVerifier(SECRET, lambda: NOW)


def verifier(*keys, secret=SECRET, now=NOW, required=None):
    """Return one with a JWKS."""
    ring = KeyRing(parse_key_set(key_set(*keys)))
    return JwtVerifier(secret, lambda: now, ring, required)


def token(claims, key=OWN, **header):
    return sign({"alg": key.algorithm} | header, claims, key)


@pytest.mark.capability("SB-070")
async def test_a_good_token_gives_role_expiry_and_the_claims_as_signed():
    identity = await VERIFIER.verify(token({**GOOD, "sub": "u1"}))

    assert (identity.role, identity.expires_at) == ("anon", NOW + 60)
    assert json.loads(identity.claims) == {**GOOD, "sub": "u1"}


async def test_a_minted_token_is_good_until_it_expires():
    assert (await VERIFIER.verify(mint(SECRET, "service_role", NOW + 1))).role == "service_role"
    with pytest.raises(TokenExpired):
        await VERIFIER.verify(mint(SECRET, "service_role", NOW))


async def test_an_identity_is_good_for_so_many_seconds_and_remembers_its_token():
    good = token(GOOD)
    identity = await VERIFIER.verify(good)

    assert VERIFIER.seconds_left(identity) == 60
    assert identity.token == good


async def test_percent_encoding_and_white_space_are_undone():
    good = token(GOOD)

    assert (await VERIFIER.verify(f" {good[:10]}%0A\n{good[10:]}\t")).role == "anon"


@pytest.mark.parametrize(
    "key",
    [
        *(secret_key(ANOTHER, f"oct-{a}", a) for a in ("HS256", "HS384", "HS512")),
        *(rsa_key(f"rsa-{a}", a) for a in ("RS256", "RS384", "RS512")),
        *(ec_key(f"ec-{a}", a) for a in ("ES256", "ES384", "ES512")),
        *(ed_key(f"ed-{a}", a) for a in ("Ed25519", "Ed448")),
    ],
    ids=lambda key: key.algorithm,
)
async def test_every_algorithm_of_the_contract_is_verified_with_its_key(key):
    others = [rsa_key(), ec_key(), ed_key(), secret_key("x" * 40)]

    identity = await verifier(*others, key).verify(key.token(GOOD))

    assert identity.role == "anon"


@pytest.mark.parametrize("curve", ["Ed25519", "Ed448"])
@pytest.mark.parametrize("published_as", ["EdDSA", "curve", None])
@pytest.mark.parametrize("signed_as", ["EdDSA", "curve"])
async def test_eddsa_and_the_name_of_the_curve_are_one_algorithm(
    curve, published_as, signed_as
):
    key = ed_key(f"ed-{curve}", curve)
    published = key.jwk(alg=curve if published_as == "curve" else published_as)
    signed = key.token(GOOD, alg=curve if signed_as == "curve" else signed_as)

    assert (await verifier(published).verify(signed)).role == "anon"


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
async def test_a_key_that_names_no_algorithm_is_good_for_all_of_its_type(algorithm):
    key = rsa_key()

    assert await verifier(key.jwk(alg=None)).verify(key.token(GOOD, alg=algorithm))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_the_secret_is_good_for_every_hash(algorithm):
    assert await VERIFIER.verify(token(GOOD, alg=algorithm))


@pytest.mark.parametrize("key_id", ["unknown", "rsa"])
async def test_a_token_of_the_secret_is_let_in_whatever_key_it_names(key_id):
    assert await verifier(rsa_key()).verify(token(GOOD, kid=key_id))


async def test_a_shared_key_with_the_id_goes_before_the_secret():
    both = verifier(secret_key(ANOTHER, "shared"))

    assert await both.verify(token(GOOD, secret_key(ANOTHER), kid="shared"))
    with pytest.raises(Unauthorized):
        await both.verify(token(GOOD, kid="shared"))


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "nonsense", None])
async def test_the_type_in_the_header_does_not_matter(kind):
    assert await VERIFIER.verify(token(GOOD, typ=kind))


@pytest.mark.parametrize(
    ("expires_at", "now", "ago"),
    [
        (NOW - 42, NOW, 42),
        (NOW - 42, NOW + 0.9, 42),
        (NOW, NOW, 0),
        (NOW - 0.6, NOW, 1),
        (NOW + 0.4, NOW, 0),
        (0, NOW, int(NOW)),
        (-1e14, NOW, int(NOW + 1e14)),
    ],
)
async def test_an_expired_token_says_since_how_many_whole_seconds(expires_at, now, ago):
    with pytest.raises(TokenExpired) as caught:
        await JwtVerifier(SECRET, lambda: now).verify(
            token({"role": "anon", "exp": expires_at})
        )

    assert caught.value.reason == f"Token has expired {ago} seconds ago"


@pytest.mark.parametrize("expires_at", [NOW + 1, NOW + 0.5, NOW + 0.9])
async def test_a_fraction_of_a_second_is_rounded(expires_at):
    identity = await VERIFIER.verify(token({"role": "anon", "exp": expires_at}))

    assert identity.expires_at == NOW + 1


@pytest.mark.parametrize(
    "claims",
    [{"iat": NOW + 3600}, {"iat": 0.5}, {"nbf": NOW + 3600}, {"aud": "anybody"}, {"iss": 7}],
    ids=str,
)
async def test_other_times_and_parties_are_not_looked_at(claims):
    assert await VERIFIER.verify(token(GOOD | claims))


@pytest.mark.parametrize("claim", ["exp", "iat"])
@pytest.mark.parametrize("value", ["soon", "1900000000", True, [1], {}, None, 1e300])
async def test_a_time_that_is_no_time_is_refused_without_a_code(claim, value):
    with pytest.raises(Refused) as caught:
        await VERIFIER.verify(token({**GOOD, claim: value}))

    assert (caught.value.code, caught.value.reason) == ("", "Unknown Error on Channel")
    assert not isinstance(caught.value, Unauthorized)


@pytest.mark.parametrize(
    ("claims", "is_good"),
    [
        ({}, True),
        ({"iss": "us"}, True),
        ({"iss": "them"}, False),
        ({"iss": None}, False),
        ({"iss": ["us"]}, False),
        ({"iss": "us", "level": 1}, True),
        ({"level": True}, False),
        ({"level": 2}, False),
        ({"app": {"b": [1], "a": "x"}}, True),
        ({"app": {"b": [1]}}, False),
    ],
    ids=str,
)
async def test_a_claim_must_have_the_wanted_value_if_it_is_there(claims, is_good):
    required = {"iss": "us", "level": 1, "app": {"a": "x", "b": [1]}}
    strict = verifier(required=required)

    if is_good:
        assert await strict.verify(token(GOOD | claims))
    else:
        with pytest.raises(Refused) as caught:
            await strict.verify(token(GOOD | claims))
        assert (caught.value.code, caught.value.reason) == ("", "Unknown Error on Channel")


@given(st.text())
async def test_whatever_is_sent_is_refused_and_nothing_else_happens(text):
    with pytest.raises(Refused):
        await VERIFIER.verify(text)


HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jku", "x"]),
    st.one_of(
        st.sampled_from(["HS256", "RS256", "EdDSA", "none", "rsa", "oct"]),
        st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ),
)


@given(header=HEADERS, claims=st.binary(), signature=st.binary())
async def test_whatever_is_signed_by_nobody_is_refused(header, claims, signature):
    forged = ".".join(
        [*sign(header, claims, OWN, "HS256").split(".")[:2], signature.hex() or "AA"]
    )

    with pytest.raises(Unauthorized):
        await verifier(rsa_key(), ed_key(), secret_key(ANOTHER)).verify(forged)


def test_neither_token_nor_claims_nor_keys_show_in_what_may_be_logged():
    ring = KeyRing(parse_key_set(key_set(secret_key(ANOTHER))))

    assert ANOTHER not in repr(ring)
    assert str(ring.keys.keys[0].material) not in repr(ring)


async def test_an_identity_keeps_token_and_claims_to_itself():
    good = token({**GOOD, "sub": "hidden-subject"})
    identity = await VERIFIER.verify(good)

    assert "hidden-subject" not in repr(identity)
    assert good not in repr(identity)
