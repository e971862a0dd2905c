"""From a JWT to an identity: whose signature, until when, in which role.

Implements `ports.TokenVerifier` with PyJWT; called at the handshake by the web floor, at each join by the connection.
PyJWT reads the wall clock by itself, so expiry is checked here, against the clock that is handed in.

**Source**: spec 1.2, 2.3 (texts), 3.1 and 3.2 (what is verified).
"""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import jwt

from actors.realtime.errors import Refused, TokenExpired, Unauthorized
from actors.realtime.ports import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

#: The algorithms whose key is the tenant's secret; the key decides which may be used, never the token.
ALGORITHMS: Final = ("HS256",)

_OPTIONS: Final[Any] = {
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_iss": False,
    "verify_jti": False,
    "verify_nbf": False,
    "verify_sub": False,
}
_WHITESPACE: Final = re.compile(r"\s+")


def malformed() -> Unauthorized:
    return Unauthorized("MalformedJWT", "The token provided is not a valid JWT")


def missing_claims() -> Unauthorized:
    return Unauthorized("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")


class JwtVerifier:
    """Verifies tokens that are signed with one secret.

    `now` returns seconds since 1970-01-01 UTC.
    """

    def __init__(self, secret: str, now: Callable[[], float]) -> None:
        self._secret = secret.encode()
        self._now = now

    async def verify(self, token: str) -> Identity:
        """Return whom the token speaks for. For errors see `ports.TokenVerifier`."""
        # Source: spec 3.1, tokens are percent-decoded and stripped of white space before parsing.
        compact = _WHITESPACE.sub("", unquote(token))
        claims = self._claims(compact)
        role, expires_at = claims.get("role"), claims.get("exp")
        for name in ("exp", "iat"):
            if name in claims and not _is_number(claims[name]):
                raise Refused("", "Unknown Error on Channel")
        if expires_at is not None:
            self._check_expiry(expires_at)
        if not isinstance(role, str) or expires_at is None:
            raise missing_claims()
        return Identity(role, _payload(compact), float(expires_at))

    def check_expiry(self, identity: Identity) -> None:
        """Return if the identity is still good; raises `TokenExpired`."""
        self._check_expiry(identity.expires_at)

    def _check_expiry(self, expires_at: float) -> None:
        now = self._now()
        # Source: spec 3.2, a fraction of a second is rounded.
        if round(expires_at) <= now:
            raise TokenExpired(math.ceil(now - expires_at))

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
        except (jwt.InvalidTokenError, ValueError):
            raise malformed() from None
        if algorithm not in ALGORITHMS:
            raise Unauthorized(
                "JwtSignerError",
                "Failed to generate JWT signer, check your JWT secret or JWKS configuration",
            )
        try:
            with warnings.catch_warnings():
                # A short secret is the operator's to hear of, once, when the settings are read.
                warnings.simplefilter("ignore", jwt.warnings.InsecureKeyLengthWarning)
                claims: dict[str, Any] = jwt.decode(
                    token, self._secret, algorithms=ALGORITHMS, options=_OPTIONS
                )
        except jwt.InvalidSignatureError:
            raise Unauthorized(
                "JwtSignatureError", "Failed to validate JWT signature"
            ) from None
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise malformed() from None
        return claims


def mint(secret: str, role: str, expires_at: float) -> str:
    """Return a token for a role that is good until `expires_at` (seconds since 1970-01-01 UTC)."""
    return jwt.encode({"role": role, "exp": int(expires_at)}, secret, algorithm="HS256")


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e15  # beyond that it is no time, and an infinity cannot be rounded
    )


def _payload(token: str) -> bytes:
    """Return the claims as they were signed: the token's second part."""
    return jwt.utils.base64url_decode(token.split(".")[1])
