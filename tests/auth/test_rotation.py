"""Keys that change while the server runs, on the virtual clock, with an issuer in memory."""

from __future__ import annotations

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from actors.auth.keys import KeySet
from actors.auth.rotation import MIN_INTERVAL_S, KeyRing, refresher_spec
from actors.auth.tokens import JwtVerifier
from actors.core.errors import Poisoned
from actors.core.spec import Intensity
from actors.realtime.errors import Unauthorized, Unavailable
from actors.telemetry.metrics import Metrics
from tests.support.signing import ec_key, key_set, rsa_key, secret_key, sign
from tests.support.stage import stage

NOW = 1_800_000_000.0
GOOD = {"role": "anon", "exp": NOW + 60}
OLD, NEW = rsa_key("old"), rsa_key("new", number=1)
INTERVAL_S = 600.0


@define
class Issuer:
    """Publishes keys; can be away, slow, or publish nonsense."""

    text: str = ""
    away: bool = False
    takes_s: float = 0.0
    fetched_at: list[float] = field(factory=list)
    underway: int = 0

    def publish(self, *keys) -> None:
        self.text = key_set(*keys)

    async def __call__(self) -> bytes:
        self.fetched_at.append(trio.current_time())
        self.underway += 1
        assert self.underway == 1
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.underway -= 1
        if self.away:
            raise Unavailable("the issuer is away")
        return self.text.encode()


@define
class Scene:
    issuer: Issuer
    ring: KeyRing
    metrics: Metrics
    verifier: JwtVerifier
    spec: object

    def lines(self) -> dict[str, float]:
        """Return the figures of the metrics about keys."""
        lines = self.metrics.render().decode().splitlines()
        pairs = (line.split() for line in lines if line.startswith("realtime_key"))
        return {name: float(value) for name, value in pairs}


@pytest.fixture
def scene() -> Scene:
    issuer, ring, metrics = Issuer(), KeyRing(), Metrics()
    issuer.publish(OLD)
    return Scene(
        issuer,
        ring,
        metrics,
        JwtVerifier(None, lambda: NOW, ring),
        refresher_spec(ring, issuer, INTERVAL_S, metrics),
    )


async def is_good(scene, key=NEW) -> bool:
    """Whether a token with that key is let in; if not, the key must be the reason."""
    try:
        await scene.verifier.verify(key.token(GOOD))
    except Unauthorized as refused:
        if f'for key ID (kid) "{key.key_id}"' in refused.reason:
            return False
        raise
    return True


async def test_the_keys_are_there_before_the_next_actor_starts(autojump_clock, scene):
    scene.issuer.takes_s = 3
    async with stage(scene.spec):
        assert scene.ring.keys.key_ids() == ("old",)
        assert await is_good(scene, OLD)


async def test_a_token_with_a_new_key_works_at_once(autojump_clock, scene):
    async with stage(scene.spec):
        await trio.sleep(100)
        scene.issuer.publish(OLD, NEW)
        before = trio.current_time()

        assert await is_good(scene)
        assert trio.current_time() == before


async def test_new_keys_are_found_at_the_interval_without_any_token(autojump_clock, scene):
    async with stage(scene.spec):
        scene.issuer.publish(NEW)
        await trio.sleep(INTERVAL_S + 1)

        assert scene.ring.keys.key_ids() == ("new",)
        assert not await is_good(scene, OLD)


async def test_who_invents_key_ids_causes_no_more_than_a_few_fetches(autojump_clock, scene):
    async with stage(scene.spec):
        begun = trio.current_time()
        for number in range(500):
            key = ec_key()
            with pytest.raises(Unauthorized):
                await scene.verifier.verify(key.token(GOOD, kid=f"invented-{number}"))
            await trio.sleep(0.1)
        lasted = trio.current_time() - begun

        assert len(scene.issuer.fetched_at) <= 2 + lasted / MIN_INTERVAL_S


async def test_tokens_that_arrive_together_wait_for_one_fetch(autojump_clock, scene):
    async with stage(scene.spec):
        await trio.sleep(100)
        scene.issuer.publish(NEW)
        scene.issuer.takes_s = 2
        found = []

        async def verify():
            found.append(await is_good(scene))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(verify)

        assert found == [True] * 100
        assert len(scene.issuer.fetched_at) == 2


async def test_a_token_whose_key_is_known_waits_for_nothing(autojump_clock, scene):
    async with stage(scene.spec):
        await trio.sleep(100)
        scene.issuer.takes_s = 4
        async with trio.open_nursery() as nursery:
            nursery.start_soon(is_good, scene)
            await wait_all_tasks_blocked()
            before = trio.current_time()

            assert await is_good(scene, OLD)
            assert trio.current_time() == before


async def test_a_legacy_token_that_names_its_secret_fetches_nothing(autojump_clock, scene):
    secret = "s" * 40
    scene.verifier = JwtVerifier(secret, lambda: NOW, scene.ring)
    async with stage(scene.spec):
        await trio.sleep(100)
        token = sign({"alg": "HS256", "kid": "legacy"}, GOOD, secret_key(secret))

        assert await scene.verifier.verify(token)
        assert len(scene.issuer.fetched_at) == 1


async def test_keys_stay_in_force_while_their_issuer_is_away(autojump_clock, scene):
    async with stage(scene.spec):
        scene.issuer.away = True
        await trio.sleep(50 * INTERVAL_S)

        assert await is_good(scene, OLD)
        assert scene.lines()["realtime_key_set_failures_total"] > 50


@pytest.mark.parametrize("text", ["<html>", "[]", '{"keys": 7}', '{"error": "no"}', ""])
async def test_what_is_no_key_set_takes_no_key_away(autojump_clock, scene, text):
    async with stage(scene.spec) as running:
        scene.issuer.text = text
        await trio.sleep(3 * INTERVAL_S)

        assert await is_good(scene, OLD)
        assert running.reports == []


async def test_an_issuer_that_is_away_at_the_start_is_a_state(autojump_clock, scene):
    scene.issuer.away = True
    with capture_logs() as logs:
        async with stage(scene.spec) as running:
            assert not await is_good(scene, OLD)
            assert running.reports == []
            assert scene.lines()["realtime_keys"] == 0
            scene.issuer.away = False
            await trio.sleep(61)

            assert await is_good(scene, OLD)
            assert scene.lines()["realtime_keys"] == 1
    events = [line["event"] for line in logs]
    assert events[0] == "keys.unavailable"
    assert events[-1] == "keys.renewed"
    assert logs[0]["advice"] == "the issuer is away"


async def test_an_issuer_that_is_away_is_asked_less_and_less(autojump_clock, scene):
    scene.issuer.away = True
    async with stage(scene.spec):
        await trio.sleep(3600)
    waits = [
        b - a
        for a, b in zip(scene.issuer.fetched_at, scene.issuer.fetched_at[1:], strict=False)
    ]

    assert waits == sorted(waits)
    assert waits[-1] == 60


async def test_an_issuer_that_never_answers_delays_a_token_for_seconds_only(
    autojump_clock, scene
):
    async with stage(scene.spec):
        await trio.sleep(100)
        scene.issuer.takes_s = 1e6
        before = trio.current_time()

        assert not await is_good(scene)
        assert trio.current_time() - before == scene.ring.wait_s


async def test_a_refresher_that_crashes_costs_no_key(autojump_clock, scene):
    async with stage(scene.spec, intensity=Intensity(100, 1.0)) as running:
        await trio.sleep(100)
        scene.issuer.publish(NEW)
        refresher = running.supervisor.find("key_set")
        running.supervisor.fail(refresher, Poisoned("while it waited"))
        await wait_all_tasks_blocked()

        assert await is_good(scene)
        assert refresher.alive


async def test_a_refresher_that_crashes_again_and_again_does_not_flood_its_issuer(
    autojump_clock, scene
):
    async with stage(scene.spec, intensity=Intensity(1000, 1.0)) as running:
        for _ in range(20):
            refresher = running.supervisor.find("key_set")
            running.supervisor.fail(refresher, Poisoned("while it waited"))
            await wait_all_tasks_blocked()

        assert len(scene.issuer.fetched_at) < 20


async def test_stopping_does_not_wait_for_the_issuer(autojump_clock, scene):
    async with stage(scene.spec):
        scene.issuer.takes_s = 1e6
        await trio.sleep(INTERVAL_S + 1)
        before = trio.current_time()

    assert trio.current_time() - before < 6


async def test_a_ring_that_nobody_renews_has_the_keys_it_was_given():
    ring = KeyRing(KeySet())
    await ring.renew()

    assert len(ring) == 0
