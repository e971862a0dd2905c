"""Tokens whose role the database may not know, and clients without a token; for the doors of further dialects.

Implements `ports.TokenVerifier` around another one; asks `ports.DatabaseRoles`.

**Source**: ledger C15 and C37 (no token: `anon`), C45 (a role that is none has the rights of `authenticated`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from actors.realtime.ports import Identity

if TYPE_CHECKING:
    from actors.realtime.ports import DatabaseRoles, TokenVerifier

AUTHENTICATED: Final = "authenticated"
#: Roles that every database of Supabase's layout has.
BUILT_IN: Final = frozenset({"anon", AUTHENTICATED, "service_role"})
#: What a client has in place of a token that has none.
NO_TOKEN: Final = ""
NOBODY: Final = Identity("anon", b'{"role":"anon"}', math.inf, NO_TOKEN)


@frozen
class NoRoles:
    """The roles of a server without a database."""

    async def exists(self, _role: str) -> bool:
        """Return False: there is none."""
        return False


@frozen
class RoleVerifier:
    """See the module's text; whether a client may come without a token is up to its door."""

    verifier: TokenVerifier
    roles: DatabaseRoles

    async def verify(self, token: str) -> Identity:
        """Return whom the token speaks for, with a role that the database has; for errors see the port."""
        if token == NO_TOKEN:
            return NOBODY
        identity = await self.verifier.verify(token)
        if identity.role in BUILT_IN or await self.roles.exists(identity.role):
            return identity
        return evolve(identity, role=AUTHENTICATED)

    def seconds_left(self, identity: Identity) -> float:
        """Return how long the identity is good."""
        return self.verifier.seconds_left(identity)
