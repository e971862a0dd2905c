"""GoForward's HTTP routes on a memory port before a stage, and clients for them."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
from attrs import define, frozen
from trio.testing import wait_all_tasks_blocked

from actors.auth.roles import NoRoles, RoleVerifier
from actors.core.supervisor import Supervisor
from actors.realtime.channel_admin import ChannelAdmin
from actors.realtime.channel_keeper import keeper_spec
from actors.realtime.channel_store import NoStore
from actors.realtime.posting import Poster
from actors.web.app import site
from actors.web.bodies import BodyBudget
from actors.web.goforward import GoForwardApi
from actors.web.goforward_requests import Requests
from actors.web.request_rate import RequestRate
from protocol.goforward.envelope import Stamp
from tests.support.memory_tenant import FakeVerifier, Stage, fake_token, open_stage
from tests.support.web import RunningPort, start_port

#: Seconds since 1970 when the trio clock is 0.
EPOCH = 1_700_000_000.0
CHANNELS = "/realtime/channels"


class ManyRoles(FakeVerifier):
    """Takes the roles of the documents as well."""

    ROLES = (*FakeVerifier.ROLES, "user", "admin", "guest")


@frozen
class Answer:
    """A response; `value` is its JSON."""

    status: int
    value: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        return self.value["code"]


async def refuse(_request):
    raise AssertionError("nobody asks for a WebSocket here")


def now() -> float:
    return EPOCH + trio.current_time()


def stamp() -> Stamp:
    return Stamp(now(), b"abc123")


@define
class Api:
    """The routes, as user `ann` of role `user` calls them unless another token is named."""

    stage: Stage
    port: RunningPort
    admin: ChannelAdmin

    @property
    def managed(self):
        return self.stage.tenant.managed

    async def send(
        self, method: str, path: str, body: bytes = b"", token: str | None = "user ann 1e12"
    ) -> Answer:
        """Send a body as it is."""
        client = self.port.connect()
        lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}"]
        if token is not None:
            lines.append(f"authorization: Bearer {token}")
        await client.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        response = await client.response()
        value = json.loads(response.body) if response.body else None
        return Answer(response.status, value, response.headers)

    async def post(self, path: str, value: object = None, **options) -> Answer:
        body = b"" if value is None else json.dumps(value).encode()
        return await self.send("POST", CHANNELS + path, body, **options)

    async def get(self, path: str, **options) -> Answer:
        return await self.send("GET", CHANNELS + path, **options)

    async def delete(self, path: str, **options) -> Answer:
        return await self.send("DELETE", CHANNELS + path, **options)

    async def create(self, name: str = "room", **config) -> None:
        """Have a channel, created by the service role."""
        created = await self.post("", {"name": name, **config}, token="service_role")
        assert created.status == 201, created

    async def member(self, role: str = "user", user: str = "", topic: str = "realtime:room"):
        """Return a client of the stage that is in a topic."""
        client = self.stage.connect(role=role, sub=user)
        await client.joined(topic)
        await wait_all_tasks_blocked()
        return client


def token(role: str = "user", user: str = "") -> str:
    return fake_token(role, sub=user)


@asynccontextmanager
async def open_goforward(
    *,
    store=None,
    rules=None,
    admin_roles=("service_role",),
    creator_roles=None,
    triggers=None,
    roles=None,
    keeps=False,
    **stage_options,
):
    """Serve the routes for the length of a `with` block; `keeps` runs the keeper of the channels as well."""
    options = {"verifier": ManyRoles(), **stage_options}
    async with open_stage(**options) as stage, trio.open_nursery() as nursery:
        tenant = stage.tenant
        if rules is not None:
            tenant.managed.rules = rules
        requests = Requests(
            tenant,
            RoleVerifier(tenant.verifier, roles or NoRoles()),
            BodyBudget(1 << 22),
            RequestRate(tenant.quota),
            frozenset(admin_roles),
            None if creator_roles is None else frozenset(creator_roles),
        )
        admin = ChannelAdmin(tenant, store or NoStore(), now)
        tenant.managed.is_loaded = not keeps
        poster = Poster(tenant, stage.metrics)
        api = GoForwardApi(requests, admin, poster, stamp, now, triggers)
        served = site(supabase=refuse, goforward=api.routes())
        port = await start_port(nursery, served.application)
        if keeps:
            supervisor = Supervisor(random=Random(1), observe=stage.reports.append)
            spec = keeper_spec(tenant, store or NoStore(), admin)
            await nursery.start(supervisor.run, spec)
        yield Api(stage, port, admin)
        nursery.cancel_scope.cancel()
