"""Tokens that were verified lately, so that the next join with the same one costs a look instead of a signature.

Used by `tokens.py`. An entry says that a signature of this key is good and the claims are acceptable, which stays true;
whether the key is still one of ours and the token has not expired has to be asked every time.

**Invariant**: only tokens with a good signature are entered, so nobody can fill this who cannot sign.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from actors.auth.keys import Key
    from actors.realtime.ports import Identity

#: Above this the one that was used least lately goes; a token has a kilobyte or two.
CAPACITY: Final = 4096


@frozen
class VerifiedToken:
    """What is known of a token: how its key is found and which one that was, and whom it speaks for."""

    algorithm: object
    key_id: object
    key: Key
    identity: Identity


class VerifiedTokens:
    """See the module's text."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, VerifiedToken] = OrderedDict()

    def find(self, token: str) -> VerifiedToken | None:
        """Return what is known of a token, None if nothing is."""
        known = self._tokens.get(token)
        if known is not None:
            self._tokens.move_to_end(token)
        return known

    def enter(self, known: VerifiedToken) -> None:
        """Remember a token that was just verified."""
        self._tokens[known.identity.token] = known
        if len(self._tokens) > CAPACITY:
            self._tokens.popitem(last=False)

    def forget(self, token: str) -> None:
        """Remember a token no more."""
        self._tokens.pop(token, None)
