"""Roles that the database does not know, and clients without a token."""

from __future__ import annotations

import math

import pytest

from actors.auth.roles import NoRoles, RoleVerifier
from actors.realtime.errors import Refused, Unauthorized
from tests.support.memory_tenant import FakeVerifier, fake_token


class Roles:
    """A database with some roles."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[str] = []
        self.is_away = False

    async def exists(self, role):
        self.asked.append(role)
        if self.is_away:
            raise Refused("UnableToConnectToProject", "away")
        return role in self.names


class AnyRole(FakeVerifier):
    ROLES = ("anon", "authenticated", "service_role", "user", "editor")


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_the_roles_of_every_database_stay_and_nobody_is_asked(autojump_clock, role):
    roles = Roles()
    identity = await RoleVerifier(AnyRole(), roles).verify(fake_token(role, sub="u1"))

    assert (identity.role, identity.claimed_role, identity.user_id) == (role, role, "u1")
    assert roles.asked == []


async def test_a_role_of_the_database_stays(autojump_clock):
    identity = await RoleVerifier(AnyRole(), Roles("editor")).verify(fake_token("editor"))

    assert (identity.role, identity.claimed_role) == ("editor", "editor")


@pytest.mark.parametrize("roles", [Roles("editor"), NoRoles()])
@pytest.mark.capability("GF-112")
async def test_another_role_has_the_rights_of_authenticated_and_keeps_its_name(
    autojump_clock, roles
):
    token = fake_token("user", sub="u1")
    identity = await RoleVerifier(AnyRole(), roles).verify(token)

    assert (identity.role, identity.claimed_role) == ("authenticated", "user")
    assert (identity.token, identity.user_id) == (token, "u1")


async def test_while_nobody_knows_whether_a_role_exists_it_is_refused(autojump_clock):
    roles = Roles()
    roles.is_away = True

    with pytest.raises(Refused, match="away"):
        await RoleVerifier(AnyRole(), roles).verify(fake_token("user"))


async def test_a_bad_token_is_refused_before_anybody_asks_about_its_role(autojump_clock):
    roles = Roles()

    with pytest.raises(Unauthorized):
        await RoleVerifier(AnyRole(), roles).verify("nonsense")
    assert roles.asked == []


async def test_without_a_token_one_is_anonymous_for_ever(autojump_clock):
    verifier = RoleVerifier(AnyRole(), Roles())
    identity = await verifier.verify("")

    assert (identity.role, identity.claimed_role, identity.user_id) == ("anon", "anon", "")
    assert verifier.seconds_left(identity) == math.inf
