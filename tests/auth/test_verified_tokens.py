"""A token that was verified lately is known: what that spares, and what it must not overlook."""

from __future__ import annotations

import pytest

from actors.auth import verified_tokens
from actors.auth.tokens import JwtVerifier, mint
from actors.realtime.errors import TokenExpired, Unauthorized

SECRET = "a secret of thirty-two characters"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_the_same_token_is_the_same_identity():
    verifier = JwtVerifier(SECRET, Clock())
    token = mint(SECRET, "anon", 2000)

    assert await verifier.verify(token) is await verifier.verify(token)


async def test_a_token_that_is_known_expires_all_the_same():
    clock = Clock()
    verifier = JwtVerifier(SECRET, clock)
    token = mint(SECRET, "anon", 2000)
    await verifier.verify(token)
    clock.now = 2003.0

    with pytest.raises(TokenExpired):
        await verifier.verify(token)


async def test_a_token_that_differs_in_its_signature_is_another_one():
    verifier = JwtVerifier(SECRET, Clock())
    token = mint(SECRET, "anon", 2000)
    await verifier.verify(token)
    forged = token.rpartition(".")[0] + "." + "A" * 43

    with pytest.raises(Unauthorized):
        await verifier.verify(forged)


async def test_what_is_known_is_bounded(monkeypatch):
    monkeypatch.setattr(verified_tokens, "CAPACITY", 2)
    verifier = JwtVerifier(SECRET, Clock())
    tokens = [mint(SECRET, role, 2000) for role in ("a", "b", "c")]
    first, second, _ = [await verifier.verify(token) for token in tokens]

    assert await verifier.verify(tokens[1]) is second
    assert await verifier.verify(tokens[0]) is not first
