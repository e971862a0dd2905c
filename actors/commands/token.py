"""`troupe token`: make a token that this server takes, or say what it thinks of one.

Both use the settings of the server, so that what holds here holds there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from attrs import frozen

from actors.auth.rotation import KeyRing
from actors.auth.tokens import JwtVerifier, mint
from actors.commands.database import say
from actors.commands.keys import key_set
from actors.key_settings import json_object
from actors.realtime.errors import Refused, Unavailable
from actors.settings import DEVELOPMENT_SECRET, Settings
from actors.settings_loading import InvalidSetting, load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.realtime.ports import Identity

LIFETIME_S = 3600
#: What a token says of these is for flags of their own.
OWN_CLAIMS = ("role", "exp", "iat")
#: What to do about a refusal, by its code.
ADVICE = {
    "MalformedJWT": "A token is three parts with dots between them; this is not one, or not all of it.",
    "JwtSignatureError": "It is signed with another secret or key than this server's: compare the settings.",
    "JwtSignerError": "This server has no key for its `alg` and `kid`: compare --jwt-secret and --jwt-jwks.",
    "InvalidJWTToken": "Its issuer has to make another one, with a role and a time in the future.",
}
UNFIT_TIME = "Its `exp` or `iat` is no number of seconds."


@frozen
class Verdict:
    """What became of a token; `facts` are JSON values."""

    is_good: bool
    facts: Mapping[str, Any]


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Return 0 if a token was made or is good, 1 if it is not, 2 if that could not be found out."""
    options, rest = grammar().parse_known_args(arguments)
    settings = load(rest, environment)
    if options.action == "mint":
        return _mint(options, settings)
    try:
        verdict = trio.run(check, _text(options.token), settings)
    except Unavailable as away:
        raise InvalidSetting(f"--jwt-jwks-url must answer: {away.advice}") from None
    say(json.dumps(verdict.facts, indent=2) if options.json else _sentences(verdict))
    return 0 if verdict.is_good else 1


def grammar() -> argparse.ArgumentParser:
    """Return the grammar of this command's own words; the others are settings."""
    parser = argparse.ArgumentParser(
        prog="troupe token", epilog="All flags of the server are understood too."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    maker = actions.add_parser(
        "mint", help="make a token, signed with the secret", epilog=parser.epilog
    )
    maker.add_argument("--role", required=True, help="database role, e.g. authenticated")
    maker.add_argument("--sub", help="whom it speaks for: what auth.uid() returns")
    maker.add_argument(
        "--claims", type=_claims, default={}, help="further claims, as a JSON object"
    )
    maker.add_argument(
        "--lifetime",
        type=_seconds,
        default=LIFETIME_S,
        help=f"seconds for which it is good (default: {LIFETIME_S})",
    )
    checker = actions.add_parser(
        "check", help="say whether a token is good", epilog=parser.epilog
    )
    checker.add_argument("token", help="the token; - reads it from the standard input")
    for action in (maker, checker):
        action.add_argument("--json", action="store_true", help="write JSON")
    return parser


def _mint(options: argparse.Namespace, settings: Settings) -> int:
    secret = settings.signing_secret
    if secret is None:
        raise InvalidSetting(
            "--jwt-secret must be given to make tokens; those of a JWKS are made by its owner"
        )
    if secret == DEVELOPMENT_SECRET:
        warning = "troupe: signed with the development secret, which everybody knows"
        print(warning, file=sys.stderr)  # noqa: T201  # stdout is for the token
    now = time.time()  # noqa: TID251  # this command has no clock handed in
    claims = {**options.claims, "iat": int(now)}
    if options.sub is not None:
        claims["sub"] = options.sub
    token = mint(secret, options.role, now + options.lifetime, claims)
    facts = {"token": token, "role": options.role, "expires_at": int(now + options.lifetime)}
    say(json.dumps(facts, indent=2) if options.json else token)
    return 0


async def check(token: str, settings: Settings) -> Verdict:
    """Return what the server would say of a token, and why.

    Raises:
        Unavailable: its keys cannot be fetched.
    """
    keys = await key_set(settings)
    ring = None if keys is None else KeyRing(keys)
    required = settings.jwt_claim_validators or {}
    now = time.time  # noqa: TID251
    verifier = JwtVerifier(settings.signing_secret, now, ring)
    try:
        identity = await verifier.verify(token)
    except Refused as refused:
        advice = ADVICE.get(refused.code, UNFIT_TIME)
        return Verdict(
            False, {"code": refused.code, "reason": refused.reason, "advice": advice}
        )
    try:
        await JwtVerifier(settings.signing_secret, now, ring, required).verify(token)
    except Refused as refused:
        advice = _unfit_claims(identity, required)
        return Verdict(
            False, {"code": refused.code, "reason": refused.reason, "advice": advice}
        )
    claims = msgspec.json.decode(identity.claims, type=dict[str, Any])
    key = await verifier.key_of(token)
    facts = {
        "role": identity.role,
        "sub": claims.get("sub"),
        "seconds_left": int(verifier.seconds_left(identity)),
        "key": key.key_id,
        "checked_claims": sorted(claims.keys() & required.keys()),
    }
    return Verdict(True, facts)


def _unfit_claims(identity: Identity, required: Mapping[str, Any]) -> str:
    claims = msgspec.json.decode(identity.claims, type=dict[str, Any])
    unfit = [name for name in required if name in claims and claims[name] != required[name]]
    wanted = " and ".join(f"`{name}` {json.dumps(required[name])}" for name in unfit)
    return f"--jwt-claim-validators wants {wanted}."


def _sentences(verdict: Verdict) -> str:
    facts = verdict.facts
    if not verdict.is_good:
        told = ": ".join(filter(None, (facts["code"], facts["reason"])))
        return f"REFUSED  {told}\n         -> {facts['advice']}"
    key = "the secret" if facts["key"] is None else f"key {facts['key']} of the JWKS"
    subject = "nobody by name" if facts["sub"] is None else facts["sub"]
    return (
        f"GOOD  It speaks as {facts['role']} for {subject}, is signed with {key},"
        f" and expires in {facts['seconds_left']} s."
    )


def _text(argument: str) -> str:
    return sys.stdin.read().strip() if argument == "-" else argument


def _claims(text: str) -> dict[str, Any]:
    try:
        claims = dict(json_object(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be {error}") from None
    named = [name for name in OWN_CLAIMS if name in claims]
    if named:
        raise argparse.ArgumentTypeError(
            f"must not have {' or '.join(named)}: there are --role and --lifetime for that"
        )
    return claims


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("must be a whole number of seconds, at least 1")
    return int(text)
