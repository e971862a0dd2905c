"""Keys that tokens are verified with: read from a JWKS, found by type and id, each good for certain algorithms only.

Used by `tokens.py`; sets come from the settings or from `rotation.py`.

**Invariants**
- A key says which algorithms it verifies; what a token names is looked up there and never trusted.
- Of a private key only the public half is kept.
- A key that cannot be used is left out with a reason; it never spoils the others.

**Source**: RFC 7517 and 7518 for the members, RFC 8037 for Ed25519 and Ed448, RFC 9864 for their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jwt
from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from msgspec.json import Decoder

from protocol import jsontext
from protocol.errors import MalformedFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HS: Final = frozenset({"HS256", "HS384", "HS512"})
RS: Final = frozenset({"RS256", "RS384", "RS512"})
ES: Final = frozenset({"ES256", "ES384", "ES512"})
ED: Final = frozenset({"EdDSA", "Ed25519", "Ed448"})
#: The type of key (`kty`) that each algorithm needs.
KEY_TYPES: Final = {
    **dict.fromkeys(HS, "oct"),
    **dict.fromkeys(RS, "RSA"),
    **dict.fromkeys(ES, "EC"),
    **dict.fromkeys(ED, "OKP"),
}
#: What a key of a curve verifies; the curve is as good as an algorithm's name.
CURVES: Final = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
    ("OKP", "Ed448"): frozenset({"EdDSA", "Ed448"}),
}
READERS: Final[Mapping[str, Callable[[dict[str, Any]], Any]]] = {
    "oct": HMACAlgorithm.from_jwk,
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
PUBLIC_MEMBERS: Final = ("kty", "crv", "x", "y", "n", "e")

#: An issuer has a handful of keys; some leave room for many generations.
MAX_KEYS: Final = 100
MAX_KEY_SET_BYTES: Final = 256 * 1024
#: Shorter keys can be guessed or factored (RFC 7518, 3.2 and 3.3).
MIN_SECRET_BYTES: Final = 32
MIN_RSA_BITS: Final = 2048

_object = Decoder(dict[str, Any])


class InvalidKeySet(ValueError):
    """The text is no JWKS; it says what one is."""


class _Unusable(Exception):
    """One key cannot be used; the text says why."""


@frozen
class Key:
    """One key for verifying; `key_type` and `key_id` are its `kty` and `kid`."""

    key_type: str
    key_id: str | None
    algorithms: frozenset[str]
    material: Any = field(repr=False)


@frozen
class KeySet:
    """Keys in the order of their issuer; `skipped` says for each key that was left out why."""

    keys: tuple[Key, ...] = ()
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, key_type: str, key_id: str) -> Key | None:
        """Return the first key of that type and id."""
        for key in self.keys:
            if key.key_id == key_id and key.key_type == key_type:
                return key
        return None

    def key_ids(self) -> tuple[str | None, ...]:
        """Return the ids of the keys, in their order."""
        return tuple(key.key_id for key in self.keys)


def secret_key(secret: str) -> Key:
    """Return the key that a shared secret is."""
    return Key("oct", None, HS, secret.encode())


def parse_key_set(text: str | bytes) -> KeySet:
    """Return the keys of a JWKS: `{"keys": [{"kty": …, "kid": …, …}, …]}`.

    Raises:
        InvalidKeySet: it is no JWKS, or has more keys or bytes than any honest one.
    """
    data = text.encode() if isinstance(text, str) else text
    if len(data) > MAX_KEY_SET_BYTES:
        raise InvalidKeySet(f"a JWKS of at most {MAX_KEY_SET_BYTES} bytes")
    try:
        jsontext.utf8(data)
        entries = jsontext.decode(_object, data).get("keys")
    except MalformedFrame:
        entries = None
    if not isinstance(entries, list):
        raise InvalidKeySet('a JWKS, which is a JSON object like {"keys": […]}')
    if len(entries) > MAX_KEYS:
        raise InvalidKeySet(f"a JWKS of at most {MAX_KEYS} keys")
    keys, skipped = [], []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(_parse_key(entry))
        except _Unusable as reason:
            skipped.append(f"key {number} {reason}")
    return KeySet(tuple(keys), tuple(skipped))


def _parse_key(entry: object) -> Key:
    if not isinstance(entry, dict):
        raise _Unusable("is no object")
    key_type, key_id = entry.get("kty"), entry.get("kid")
    if not isinstance(key_id, str):
        raise _Unusable("has no kid")
    if entry.get("use", "sig") != "sig" or "verify" not in _operations(entry):
        raise _Unusable("is not for verifying signatures")
    algorithms = _algorithms(entry)
    if not isinstance(key_type, str) or not algorithms:
        raise _Unusable("is of no known type and algorithm")
    members = {name: entry[name] for name in PUBLIC_MEMBERS if name in entry}
    if key_type == "oct":
        members["k"] = entry.get("k")
    try:
        material = READERS[key_type](members)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        # What a library says of a key may repeat it, so it is not passed on.
        raise _Unusable("is malformed") from None
    if key_type == "oct" and len(material) < MIN_SECRET_BYTES:
        raise _Unusable(f"has less than {MIN_SECRET_BYTES} bytes")
    if key_type == "RSA" and material.key_size < MIN_RSA_BITS:
        raise _Unusable(f"has less than {MIN_RSA_BITS} bits")
    return Key(key_type, key_id, algorithms, material)


def _operations(entry: Mapping[str, Any]) -> list[Any]:
    operations = entry.get("key_ops", ["verify"])
    return operations if isinstance(operations, list) else []


def _algorithms(entry: Mapping[str, Any]) -> frozenset[str]:
    """Return what a key verifies: what its type and curve can, or of that only what it names."""
    key_type, curve, named = entry.get("kty"), entry.get("crv"), entry.get("alg")
    if key_type == "oct":
        able = HS
    elif key_type == "RSA":
        able = RS
    else:
        able = CURVES.get((str(key_type), str(curve)), frozenset())
    if named is None or (key_type == "OKP" and str(named) in able):
        # EdDSA and the name of the curve are two spellings of one algorithm.
        return able
    return able & {str(named)}
