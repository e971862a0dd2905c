"""From a JWT to an identity: whose signature, until when, in which role.

Implements `ports.TokenVerifier` with PyJWT and the keys of `keys.py`; asks `rotation.py` for a key it does not know.
Called at the handshake by the web floor, at each join and each refresh by the connection.
PyJWT reads the wall clock by itself, so expiry is checked here, against the clock that is handed in.

**Invariants**
- The key decides which algorithms may be used. What a token brings along (`jku`, `x5u`, `jwk`) is never looked at.
- Nothing of a token that is not verified leaves this file, but the name of its key.

**Source**: spec 1.2, 2.3 and 3.4 (texts), 3.1 (how a token is cleaned), 3.2 (which key, which claims).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import jwt
from attrs import field, frozen
from jwt.algorithms import OKPAlgorithm
from msgspec.json import Decoder

from actors.auth.keys import ED, HS, KEY_TYPES, Key, secret_key
from actors.auth.verified_tokens import VerifiedToken, VerifiedTokens
from actors.realtime.errors import Refused, TokenExpired, Unauthorized
from actors.realtime.ports import Identity
from protocol import jsontext
from protocol.errors import MalformedFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.auth.rotation import KeyRing

#: Characters; honest tokens have one or two thousand, and more has to be decoded before it can be refused.
TOKEN_LIMIT: Final = 64 * 1024
#: Beyond that it is no time, and an infinity cannot be rounded.
LATEST_TIME: Final = 1e15

# Source: spec 3.1; the white space of ASCII, as upstream's expression has no flag for more.
_WHITESPACE: Final = re.compile(r"\s+", re.ASCII)
#: What is read first is what the token says of itself; the signature is checked with the key found by that.
_READ_ONLY: Final[Any] = {"verify_signature": False}
_object = Decoder(dict[str, Any])


@frozen
class Unverified:
    """What a token says of itself."""

    algorithm: object
    key_id: object
    claims: Mapping[str, Any] = field(repr=False)
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def malformed() -> Unauthorized:
    return Unauthorized("MalformedJWT", "The token provided is not a valid JWT")


def missing_claims() -> Unauthorized:
    return Unauthorized("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")


def bad_signature() -> Unauthorized:
    return Unauthorized(
        "JwtSignatureError", "Failed to validate JWT signature", ":signature_error"
    )


def no_signer(key_id: str | None = None) -> Unauthorized:
    check = "check your JWT secret or JWKS configuration"
    if key_id is None:
        reason = f"Failed to generate JWT signer, {check}"
        return Unauthorized("JwtSignerError", reason, ":error_generating_signer")
    return Unauthorized(
        "JwtSignerError", f'Failed to generate JWT signer for key ID (kid) "{key_id}", {check}'
    )


def not_for_us() -> Refused:
    """Return the refusal of a good signature under claims that are not acceptable."""
    return Refused("", "Unknown Error on Channel")


class JwtVerifier:
    """Verifies tokens that are signed with a secret or with a key of a ring.

    `now` returns seconds since 1970-01-01 UTC.
    `required` are claims that a token must have these values of, if it has them at all.
    """

    def __init__(
        self,
        secret: str | None,
        now: Callable[[], float],
        ring: KeyRing | None = None,
        required: Mapping[str, Any] | None = None,
    ) -> None:
        self._secret = None if secret is None else secret_key(secret)
        self._now = now
        self._ring = ring
        self._required = {claim: _canonical(value) for claim, value in (required or {}).items()}
        self._verified = VerifiedTokens()
        self._jws = jwt.PyJWS()
        for algorithm in ED - {"EdDSA"}:
            self._jws.register_algorithm(algorithm, OKPAlgorithm())

    async def verify(self, token: str) -> Identity:
        """Return whom the token speaks for. For errors see `ports.TokenVerifier`."""
        known = self._verified.find(token)
        if known is not None:
            is_current = await self._key(known.algorithm, known.key_id) is known.key
            if is_current and known.identity.expires_at > math.floor(self._now()):
                return known.identity
            self._verified.forget(token)
        unverified = self._read(token)
        key = await self._key(unverified.algorithm, unverified.key_id)
        self._check_signature(unverified, key)
        role, expires_at = self._check_claims(unverified.claims)
        subject = unverified.claims.get("sub")
        user_id = subject if isinstance(subject, str) else ""
        identity = Identity(role, unverified.payload, expires_at, token, user_id)
        known = VerifiedToken(unverified.algorithm, unverified.key_id, key, identity)
        self._verified.enter(known)
        return identity

    async def key_of(self, token: str) -> Key:
        """Return the key that the signature must be of; whether it is, only `verify` says.

        Raises:
            Unauthorized: it is no token, or there is no such key.
        """
        unverified = self._read(token)
        return await self._key(unverified.algorithm, unverified.key_id)

    def seconds_left(self, identity: Identity) -> float:
        """Return how long the identity is good."""
        return identity.expires_at - self._now()

    def _read(self, token: str) -> Unverified:
        if len(token) > TOKEN_LIMIT:
            raise malformed()
        compact = _WHITESPACE.sub("", unquote(token))
        try:
            parts = self._jws.decode_complete(compact, options=_READ_ONLY)
            payload = parts["payload"]
            jsontext.utf8(payload)
            claims = jsontext.decode(_object, payload)
        except (jwt.InvalidTokenError, MalformedFrame, UnicodeError):
            raise malformed() from None
        header = parts["header"]
        return Unverified(
            algorithm=header.get("alg"),
            key_id=header.get("kid"),
            claims=claims,
            payload=payload,
            signing_input=compact.rpartition(".")[0].encode(),
            signature=parts["signature"],
        )

    async def _key(self, algorithm: object, key_id: object) -> Key:
        """Return the key that the signature must be of.

        **Source**: spec 3.2, the table of key selection; a key that is not known yet is fetched once.
        """
        key_type = KEY_TYPES.get(algorithm) if isinstance(algorithm, str) else None
        if key_type is None:
            raise no_signer()
        if self._ring is None or not isinstance(key_id, str):
            if self._secret is None or algorithm not in HS:
                raise no_signer()
            return self._secret
        key = self._ring.keys.find(key_type, key_id)
        if key is None and algorithm in HS:
            # Tokens of a legacy secret may name it, so this is the rule and nothing to fetch keys for.
            key = self._secret
        if key is None:
            await self._ring.renew()
            key = self._ring.keys.find(key_type, key_id)
        if key is None:
            raise no_signer(_speakable(key_id))
        return key

    def _check_signature(self, token: Unverified, key: Key) -> None:
        # Invariant: the algorithm is one the key allows, whatever else the library knows by that name.
        if token.algorithm not in key.algorithms:
            raise bad_signature()
        algorithm = self._jws.get_algorithm_by_name(str(token.algorithm))
        if not algorithm.verify(token.signing_input, key.material, token.signature):
            raise bad_signature()

    def _check_claims(self, claims: Mapping[str, Any]) -> tuple[str, float]:
        """Return role and expiry time.

        **Source**: spec 3.2; times that are present are numbers and are rounded to seconds, then the required claims,
        and only then whether there are a role and an expiry at all.
        """
        for name in ("exp", "iat"):
            if name in claims and not _is_time(claims[name]):
                raise not_for_us()
        expires_at = math.floor(claims["exp"] + 0.5) if "exp" in claims else None
        if expires_at is not None and expires_at <= (now := math.floor(self._now())):
            raise TokenExpired(now - expires_at)
        for claim, value in self._required.items():
            if claim in claims and _canonical(claims[claim]) != value:
                raise not_for_us()
        role = claims.get("role")
        if expires_at is None or not isinstance(role, str) or not role:
            raise missing_claims()
        return role, float(expires_at)


def mint(
    secret: str, role: str, expires_at: float, claims: Mapping[str, Any] | None = None
) -> str:
    """Return a token for a role that is good until `expires_at` (seconds since 1970-01-01 UTC).

    `claims` are further ones.
    """
    body = {**(claims or {}), "role": role, "exp": int(expires_at)}
    return jwt.encode(body, secret, algorithm="HS256")


def _is_time(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < LATEST_TIME
    )


def _canonical(value: object) -> bytes:
    return jsontext.canonical(jsontext.write(value))


def _speakable(key_id: str) -> str:
    """Return the name of a key if it can be said in UTF-8; half a surrogate pair cannot."""
    try:
        key_id.encode()
    except UnicodeEncodeError:
        raise malformed() from None
    return key_id
