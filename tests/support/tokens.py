"""Makes the tokens that tests put in place of an application's: HS256, with a role and an expiry time."""

from __future__ import annotations

import jwt

# At least 32 bytes, else the library warns that HS256 deserves a longer one.
SECRET = "a secret of the test suite, known to everybody"
# 2100-01-01 UTC: far enough for a token whose expiry is not the subject.
FAR_FUTURE = 4_102_444_800


def mint(
    role: str = "anon",
    *,
    secret: str = SECRET,
    expires_at: float = FAR_FUTURE,
    **claims: object,
) -> str:
    """Return a signed token; `expires_at` is in seconds since 1970-01-01 UTC, `claims` are added as they are."""
    return jwt.encode({"role": role, "exp": expires_at, **claims}, secret, algorithm="HS256")
