"""The keys that tokens are verified with, as a command finds them: what the settings say, and what is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.auth.fetch import HttpKeySet
from actors.auth.keys import InvalidKeySet, parse_key_set
from actors.db.findings import Finding, error, ok, warning
from actors.realtime.errors import Unavailable
from actors.settings import DEVELOPMENT_SECRET
from actors.settings_loading import SECRET_BYTES

if TYPE_CHECKING:
    from actors.auth.keys import KeySet
    from actors.settings import Settings

MAKE_SECRET = "REALTIME_JWT_SECRET=$(openssl rand -base64 48)"  # noqa: S105  # a command that makes one


async def key_set(settings: Settings) -> KeySet | None:
    """Return the JWKS that the settings name, fetched if it is elsewhere; None without one.

    Raises:
        Unavailable: it cannot be fetched, or is none.
    """
    if settings.jwt_jwks_url is None:
        return settings.key_set
    try:
        return parse_key_set(await HttpKeySet(settings.jwt_jwks_url)())
    except InvalidKeySet as invalid:
        raise Unavailable(f"what was fetched is not {invalid}") from None


def check_secret(settings: Settings) -> list[Finding]:
    """Return what is to be said of the secret, if there is one."""
    secret = settings.signing_secret
    if secret is None:
        return []
    if secret == DEVELOPMENT_SECRET:
        level = error if settings.env == "production" else warning
        sentence = "Keys are made with the development secret, which everybody knows."
        return [level("keys", sentence, MAKE_SECRET)]
    if len(secret.encode()) < SECRET_BYTES:
        sentence = f"The secret has fewer than {SECRET_BYTES} bytes: it can be guessed."
        return [warning("keys", sentence, MAKE_SECRET)]
    return [ok("keys", "The secret is long enough.")]


async def check_key_set(settings: Settings) -> list[Finding]:
    """Return what is to be said of the JWKS, if there is one."""
    try:
        keys = await key_set(settings)
    except Unavailable as away:
        remedy = "REALTIME_JWT_JWKS_URL=...  # where `curl` on this machine shows a JWKS"
        return [error("JWKS", f"It is not to be had: {away.advice}.", remedy)]
    if keys is None:
        return []
    if not keys:
        why = "; ".join(keys.skipped) or "it is empty"
        remedy = "# let the issuer publish its public keys, each with a kid"
        return [error("JWKS", f"It has no key that can be used: {why}.", remedy)]
    findings = [ok("JWKS", f"It has {len(keys)} keys.")]
    if keys.skipped:
        remedy = "# nothing, if no token is signed with them"
        findings.append(warning("JWKS", f"Left out: {'; '.join(keys.skipped)}.", remedy))
    return findings
