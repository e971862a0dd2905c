"""One living actor per key."""

from __future__ import annotations

from random import Random

import pytest
from trio.testing import wait_all_tasks_blocked

from actors.core.registry import Registry
from actors.core.spec import Backoff, Restart
from actors.core.supervisor import Supervisor
from tests.support.stage import Crash, Question, Return, player, stage


async def test_actor_is_started_when_it_is_first_asked_for():
    async with stage() as here:
        registry = Registry(here.supervisor)
        assert registry.get("key") is None
        ref = registry.get_or_start("key", player)

        assert ref.name == "key"
        assert registry.get("key") is ref
        assert registry.get_or_start("key", player) is ref
        assert await ref.ask(Question, within=1) == 1


async def test_restarting_actor_keeps_its_key():
    async with stage() as here:
        registry = Registry(here.supervisor)
        ref = registry.get_or_start("key", lambda key: player(key, backoff=Backoff(first=5)))
        ref.tell(Crash())
        await wait_all_tasks_blocked()

        assert registry.get_or_start("key", player) is ref


@pytest.mark.parametrize("ending", [Return(), Crash()], ids=["return", "crash"])
async def test_actor_that_is_gone_is_replaced(ending):
    async with stage() as here:
        registry = Registry(here.supervisor)
        old = registry.get_or_start("key", lambda key: player(key, restart=Restart.TEMPORARY))
        old.tell(ending)
        await wait_all_tasks_blocked()
        assert registry.get("key") is None

        assert registry.get_or_start("key", player) is not old


async def test_spec_must_bear_the_name_of_its_key():
    async with stage() as here:
        registry = Registry(here.supervisor)

        with pytest.raises(ValueError, match="named"):
            registry.get_or_start("key", lambda key: player("another"))


async def test_registry_of_a_supervisor_that_does_not_run_hands_out_the_dead():
    registry = Registry(Supervisor(random=Random(1), observe=lambda report: None))

    assert not registry.get_or_start("key", player).alive
    assert registry.get("key") is None
