"""Every known way to get in without a good token, and the literal answer to each.

`NO_KID` and the like are the words of the contract; a token that passes would fail the test.
"""

from __future__ import annotations

import json

import pytest

from actors.auth.keys import parse_key_set
from actors.auth.rotation import KeyRing
from actors.auth.tokens import JwtVerifier
from actors.realtime.errors import Unauthorized
from tests.support.signing import (
    base64url,
    ec_key,
    ed_key,
    key_set,
    part,
    rsa_key,
    secret_key,
    sign,
)

SECRET = "a-secret-of-more-than-thirty-two-bytes"
NOW = 1_800_000_000.0
GOOD = {"role": "service_role", "exp": NOW + 60}
OWN, FOREIGN = secret_key(SECRET), secret_key("f" * 40)
RSA, EC, ED, SHARED = rsa_key(), ec_key(), ed_key(), secret_key("s" * 40, "shared")
ATTACKER = rsa_key("attacker", number=1)
#: A key whose issuer says that it is for one algorithm only.
PINNED = rsa_key("pinned", "RS512")
JWKS = key_set(RSA.jwk(alg=None), PINNED, EC, ED, SHARED)

MALFORMED = ("MalformedJWT", "The token provided is not a valid JWT")
SIGNATURE = ("JwtSignatureError", "Failed to validate JWT signature")
CLAIMS = ("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
CHECK = "check your JWT secret or JWKS configuration"
NO_KID = ("JwtSignerError", f"Failed to generate JWT signer, {CHECK}")


def no_key(key_id):
    return (
        "JwtSignerError",
        f'Failed to generate JWT signer for key ID (kid) "{key_id}", {CHECK}',
    )


def unsigned(header, claims=GOOD):
    return f"{part(header)}.{part(claims)}."


def forged(header, claims=GOOD):
    """Return a token whose signature is as long as one, and of nobody."""
    return f"{part(header)}.{part(claims)}.{base64url(bytes(256))}"


HS = {"alg": "HS256"}
OWN_TOKEN = sign(HS, GOOD, OWN)

NO_SIGNATURE = {
    "alg none": (unsigned({"alg": "none"}), NO_KID),
    "alg None": (unsigned({"alg": "None"}), NO_KID),
    "alg nOnE with a signature": (forged({"alg": "nOnE"}), NO_KID),
    "alg none and a kid": (unsigned({"alg": "none", "kid": "rsa"}), NO_KID),
    "alg empty": (unsigned({"alg": ""}), NO_KID),
    "alg null": (unsigned({"alg": None}), NO_KID),
    "alg missing": (unsigned({}), NO_KID),
    "alg a list": (unsigned({"alg": ["HS256"]}), NO_KID),
    "alg an object": (unsigned({"alg": {"alg": "HS256"}}), NO_KID),
    "alg in lower case": (sign({"alg": "hs256"}, GOOD, OWN, "HS256"), NO_KID),
    "alg with a space": (sign({"alg": "HS256 "}, GOOD, OWN, "HS256"), NO_KID),
    "alg in full width": (sign({"alg": "\uff28S256"}, GOOD, OWN, "HS256"), NO_KID),
    "signature cut off": (unsigned(HS), SIGNATURE),
    "signature cut short": (OWN_TOKEN[:-3], SIGNATURE),
    "signature of another token": (
        f"{part(HS)}.{part(GOOD | {'sub': 'x'})}.{OWN_TOKEN.split('.')[2]}",
        SIGNATURE,
    ),
    "header replaced": (f"{part(HS | {'x': 1})}.{OWN_TOKEN.split('.', 1)[1]}", SIGNATURE),
}

OTHER_KEYS = {
    "foreign secret": (sign(HS, GOOD, FOREIGN), SIGNATURE),
    "foreign secret, HS512": (sign({"alg": "HS512"}, GOOD, FOREIGN), SIGNATURE),
    "empty secret": (sign(HS, GOOD, secret_key("")), SIGNATURE),
    "RSA public key as the secret": (
        sign(HS, GOOD, secret_key(RSA.public_pem.decode())),
        SIGNATURE,
    ),
    "RSA public key as the secret, with its kid": (
        sign(HS | {"kid": "rsa"}, GOOD, secret_key(RSA.public_pem.decode())),
        SIGNATURE,
    ),
    "EC public key as the secret, with its kid": (
        sign(HS | {"kid": "ec"}, GOOD, secret_key(EC.public_pem.decode())),
        SIGNATURE,
    ),
    "JWK as the secret": (
        sign(HS | {"kid": "rsa"}, GOOD, secret_key(json.dumps(RSA.jwk()))),
        SIGNATURE,
    ),
    "the secret for a shared key": (sign(HS | {"kid": "shared"}, GOOD, OWN), SIGNATURE),
    "foreign key under a known kid": (ATTACKER.token(GOOD, kid="rsa"), SIGNATURE),
    "unknown kid, RSA": (ATTACKER.token(GOOD), no_key("attacker")),
    "unknown kid, EC": (EC.token(GOOD, kid="other"), no_key("other")),
    "unknown kid, Ed25519": (ED.token(GOOD, kid="other"), no_key("other")),
    "unknown kid, EdDSA": (ED.token(GOOD, alg="EdDSA", kid="other"), no_key("other")),
    "kid of an EC key for RS256": (RSA.token(GOOD, kid="ec"), no_key("ec")),
    "kid of an RSA key for ES256": (EC.token(GOOD, kid="rsa"), no_key("rsa")),
    "kid of a shared key for RS256": (RSA.token(GOOD, kid="shared"), no_key("shared")),
    "kid of an RSA key for EdDSA": (ED.token(GOOD, kid="rsa"), no_key("rsa")),
    "no kid, RS256": (sign({"alg": "RS256"}, GOOD, RSA), NO_KID),
    "no kid, ES256": (sign({"alg": "ES256"}, GOOD, EC), NO_KID),
    "no kid, EdDSA": (sign({"alg": "EdDSA"}, GOOD, ED), NO_KID),
    "no kid, the shared key's secret": (sign(HS, GOOD, SHARED), SIGNATURE),
    "kid empty": (RSA.token(GOOD, kid=""), no_key("")),
    "kid with quotes": (RSA.token(GOOD, kid='a"b'), no_key('a"b')),
    "kid a path": (RSA.token(GOOD, kid="../../dev/null"), no_key("../../dev/null")),
    "kid SQL": (RSA.token(GOOD, kid="' or 1=1 --"), no_key("' or 1=1 --")),
    "kid in another case": (RSA.token(GOOD, kid="RSA"), no_key("RSA")),
    "kid with a space": (RSA.token(GOOD, kid="rsa "), no_key("rsa ")),
    "kid a number": (RSA.token(GOOD, kid=7), MALFORMED),
    "kid a list": (RSA.token(GOOD, kid=["rsa"]), MALFORMED),
    "kid half a character": (RSA.token(GOOD, kid="\ud800"), MALFORMED),
    "algorithm the key is not for": (PINNED.token(GOOD, alg="RS256"), SIGNATURE),
    "algorithm of another curve": (
        sign({"alg": "ES384", "kid": "ec"}, GOOD, EC, "ES256"),
        SIGNATURE,
    ),
    "Ed448 for a key of Ed25519": (ED.token(GOOD, alg="Ed448"), SIGNATURE),
    "PS256, which is not in the contract": (RSA.token(GOOD, alg="PS256"), NO_KID),
    "ES256K, which is not in the contract": (
        sign({"alg": "ES256K", "kid": "ec"}, GOOD, EC, "ES256"),
        NO_KID,
    ),
}

KEYS_IN_THE_TOKEN = {
    "jku": (ATTACKER.token(GOOD, jku="https://attacker.example/jwks"), no_key("attacker")),
    "jku with a known kid": (
        ATTACKER.token(GOOD, kid="rsa", jku="https://attacker.example/jwks"),
        SIGNATURE,
    ),
    "x5u": (ATTACKER.token(GOOD, kid="rsa", x5u="https://attacker.example/x"), SIGNATURE),
    "x5c": (ATTACKER.token(GOOD, kid="rsa", x5c=["MIIB"]), SIGNATURE),
    "jwk": (ATTACKER.token(GOOD, kid="rsa", jwk=ATTACKER.jwk()), SIGNATURE),
    "jwk without a kid": (
        sign({"alg": "RS256", "jwk": ATTACKER.jwk()}, GOOD, ATTACKER),
        NO_KID,
    ),
    "jwk of a shared key": (sign(HS | {"jwk": FOREIGN.jwk()}, GOOD, FOREIGN), SIGNATURE),
}

EXTENSIONS = {
    "crit": (sign(HS | {"crit": ["exp"], "exp": 1}, GOOD, OWN), MALFORMED),
    "crit empty": (sign(HS | {"crit": []}, GOOD, OWN), MALFORMED),
    "crit no list": (sign(HS | {"crit": "exp"}, GOOD, OWN), MALFORMED),
    "b64 false": (sign(HS | {"b64": False, "crit": ["b64"]}, GOOD, OWN), MALFORMED),
    "b64 false, payload empty": (
        sign(HS | {"b64": False, "crit": ["b64"]}, b"", OWN),
        MALFORMED,
    ),
}

SHAPES = {
    "empty": ("", MALFORMED),
    "one word": ("nonsense", MALFORMED),
    "an opaque key": ("sb_publishable_123", MALFORMED),
    "dots only": ("..", MALFORMED),
    "three words": ("a.b.c", MALFORMED),
    "two parts": (OWN_TOKEN.rpartition(".")[0], MALFORMED),
    "four parts": (f"{OWN_TOKEN}.AAAA", MALFORMED),
    "five parts, as if encrypted": (f"{part({'alg': 'dir'})}..AAAA.AAAA.AAAA", MALFORMED),
    "a JSON serialisation": (json.dumps({"payload": part(GOOD), "signatures": []}), MALFORMED),
    "header no JSON": (f"{part(b'not json')}.{part(GOOD)}.AAAA", MALFORMED),
    "header a list": (f"{part(['HS256'])}.{part(GOOD)}.AAAA", MALFORMED),
    "header deep": (f"{part(b'[' * 20_000)}.{part(GOOD)}.AAAA", MALFORMED),
    "header of a huge number": (
        f"{part(b'[' + b'9' * 5000 + b']')}.{part(GOOD)}.AAAA",
        MALFORMED,
    ),
    "payload no JSON": (sign(HS, b"nonsense", OWN), MALFORMED),
    "payload a list": (sign(HS, [GOOD], OWN), MALFORMED),
    "payload a number": (sign(HS, 7, OWN), MALFORMED),
    "payload deep": (sign(HS, b'{"a":' + b"[" * 20_000, OWN), MALFORMED),
    "payload of a huge number": (sign(HS, b'{"exp":' + b"9" * 5000 + b"}", OWN), MALFORMED),
    "payload beyond a double": (sign(HS, b'{"role":"a","exp":1e999}', OWN), MALFORMED),
    "payload with NaN": (sign(HS, b'{"role":"a","exp":NaN}', OWN), MALFORMED),
    "payload not UTF-8": (sign(HS, b'{"role":"\xff","exp":1900000000}', OWN), MALFORMED),
    "payload in UTF-16": (sign(HS, json.dumps(GOOD).encode("utf-16"), OWN), MALFORMED),
    "payload half a character": (sign(HS, b'{"role":"\\ud800"}', OWN), MALFORMED),
    "payload twice": (sign(HS, json.dumps(GOOD).encode() * 2, OWN), MALFORMED),
    "a token in a token": (sign(HS | {"cty": "JWT"}, OWN_TOKEN.encode(), OWN), MALFORMED),
    "a token in a token, quoted": (sign(HS, OWN_TOKEN, OWN), MALFORMED),
    "unsigned and no JSON": (unsigned({"alg": "none"}, b"nonsense"), MALFORMED),
    "oversized": (sign(HS, GOOD | {"x": "x" * 100_000}, OWN), MALFORMED),
    "oversized dots": ("." * 100_000, MALFORMED),
    "letters that are none": ("é" * 100, MALFORMED),
    "full width dots": (OWN_TOKEN.replace(".", "\uff0e"), MALFORMED),
    "white space that is not of ASCII": (f"\u00a0{OWN_TOKEN}", MALFORMED),
    "a zero-width space": (f"{OWN_TOKEN[:9]}\u200b{OWN_TOKEN[9:]}", MALFORMED),
    "a null": (f"{OWN_TOKEN}\0", MALFORMED),
    "percent-encoded twice": (OWN_TOKEN.replace(".", "%252E"), MALFORMED),
    "percent-encoded no UTF-8": (f"{OWN_TOKEN}%FF", MALFORMED),
    "half an escape": (f"{OWN_TOKEN}%4", MALFORMED),
    "the other alphabet": (f"{OWN_TOKEN[:-1]}+", MALFORMED),
    "a scheme in front": (f"Bearer {OWN_TOKEN}", MALFORMED),
}

MISSING_CLAIMS = {
    "no role": (sign(HS, {"exp": NOW + 60}, OWN), CLAIMS),
    "no exp": (sign(HS, {"role": "anon"}, OWN), CLAIMS),
    "nothing": (sign(HS, {}, OWN), CLAIMS),
    "role null": (sign(HS, GOOD | {"role": None}, OWN), CLAIMS),
    "role empty": (sign(HS, GOOD | {"role": ""}, OWN), CLAIMS),
    "role a list": (sign(HS, GOOD | {"role": ["service_role"]}, OWN), CLAIMS),
    "role in another case": (sign(HS, {"Role": "anon", "exp": NOW + 60}, OWN), CLAIMS),
    "role inside": (sign(HS, {"app": GOOD, "exp": NOW + 60}, OWN), CLAIMS),
}

EXPIRED = {
    "expired": (
        sign(HS, GOOD | {"exp": NOW - 42}, OWN),
        ("InvalidJWTToken", "Token has expired 42 seconds ago"),
    ),
    "expired, and no role": (
        sign(HS, {"exp": NOW - 42}, OWN),
        ("InvalidJWTToken", "Token has expired 42 seconds ago"),
    ),
    "expired, the second of two": (
        sign(HS, b'{"role":"anon","exp":1900000000,"exp":1799999999}', OWN),
        ("InvalidJWTToken", "Token has expired 1 seconds ago"),
    ),
}

ATTACKS = (
    NO_SIGNATURE
    | OTHER_KEYS
    | KEYS_IN_THE_TOKEN
    | EXTENSIONS
    | SHAPES
    | MISSING_CLAIMS
    | EXPIRED
)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.capability("SB-072")
async def test_an_attack_is_refused_in_the_words_of_the_contract(name):
    token, answer = ATTACKS[name]
    verifier = JwtVerifier(SECRET, lambda: NOW, KeyRing(parse_key_set(JWKS)))

    with pytest.raises(Unauthorized) as caught:
        await verifier.verify(token)

    assert (caught.value.code, caught.value.reason) == answer


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.algorithm)
async def test_without_a_jwks_no_key_is_named_in_the_answer(key):
    with pytest.raises(Unauthorized) as caught:
        await JwtVerifier(SECRET, lambda: NOW).verify(key.token(GOOD))

    assert (caught.value.code, caught.value.reason) == NO_KID


@pytest.mark.parametrize(
    ("token", "answer"),
    [
        (OWN_TOKEN, NO_KID),
        (sign(HS | {"kid": "own"}, GOOD, OWN), no_key("own")),
        (sign(HS, GOOD, secret_key("")), NO_KID),
    ],
)
async def test_without_a_secret_nothing_is_verified_with_one(token, answer):
    verifier = JwtVerifier(None, lambda: NOW, KeyRing(parse_key_set(JWKS)))

    with pytest.raises(Unauthorized) as caught:
        await verifier.verify(token)

    assert (caught.value.code, caught.value.reason) == answer


@pytest.mark.parametrize(
    ("payload", "role"),
    [
        (b'{"role":"anon","role":"authenticated","exp":1900000000}', "authenticated"),
        (b'{"role":"anon","ro\\u006ce":"authenticated","exp":1900000000}', "authenticated"),
    ],
)
async def test_of_equal_claims_the_last_counts_as_it_does_in_postgres(payload, role):
    verifier = JwtVerifier(SECRET, lambda: NOW)

    assert (await verifier.verify(sign(HS, payload, OWN))).role == role


@pytest.mark.parametrize(
    ("token", "notice"),
    [
        (sign(HS, GOOD, FOREIGN), ":signature_error"),
        (unsigned({"alg": "none"}), ":error_generating_signer"),
        (ATTACKER.token(GOOD), no_key("attacker")[1]),
        ("", MALFORMED[1]),
        (sign(HS, {}, OWN), CLAIMS[1]),
        (sign(HS, GOOD | {"exp": NOW - 1}, OWN), "Token has expired 1 seconds ago"),
    ],
)
async def test_a_subscription_that_ends_by_it_is_told_in_other_words(token, notice):
    verifier = JwtVerifier(SECRET, lambda: NOW, KeyRing(parse_key_set(JWKS)))

    with pytest.raises(Unauthorized) as caught:
        await verifier.verify(token)

    assert caught.value.notice == notice
