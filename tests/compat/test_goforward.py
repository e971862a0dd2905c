"""GoForward's channels on a server with a database: row security, roles of applications, and the end of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from tests.support.goforward import open_channel, path_of, user_token
from tests.support.row_security import ALICE, BOB
from tests.support.tokens import mint
from tests.support.websocket import Closed, open_websocket

if TYPE_CHECKING:
    from tests.support.server import Server

WITHIN_S = 60
TABLE = (
    "create table if not exists gf_notes (id serial primary key, owner uuid, body text)",
    "alter table gf_notes enable row level security",
    "drop policy if exists own on gf_notes",
    "create policy own on gf_notes for select to authenticated using (owner = auth.uid())",
    "grant select on gf_notes to authenticated",
    "alter publication supabase_realtime set table gf_notes, messages",
)


def insert(server: Server, *owners: str) -> None:
    rows = ", ".join(f"('{owner}', 'text')" for owner in owners)
    server.execute(f"insert into gf_notes (owner, body) values {rows}")


async def request(server: Server, method: str, path: str, token: str, json: object = None):
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        return await client.request(method, f"/realtime/channels{path}", json=json)


async def changed_owner(client) -> str:
    """Return whose row the client is told of next."""
    while True:
        message = await client.receive()
        assert message["event"] != "error", message
        if message["type"] == "database_change":
            return message["payload"]["change"]["new_record"]["owner"]


@pytest.mark.capability("GF-055", "GF-056", "GF-112", "GF-114")
async def test_each_user_is_told_of_its_own_rows_whatever_its_role_is_called(server: Server):
    server.execute(*TABLE)
    with trio.fail_after(WITHIN_S):
        # No database has a role of the name that Bob's token has.
        async with (
            open_channel(server.port, "gf-notes", ALICE) as alice,
            open_channel(
                server.port, "gf-notes", token=user_token(BOB, "subscriber_of_ours")
            ) as bob,
        ):
            answer = await request(
                server,
                "POST",
                "/gf-notes/subscribe",
                user_token(ALICE),
                {"table": "gf_notes", "events": ["INSERT"], "condition": "owner IS NOT NULL"},
            )
            assert answer.status_code == 200, answer.text
            for client, owner in ((alice, ALICE), (bob, BOB)):
                # Nobody is told when a subscription begins to flow.
                with trio.CancelScope() as writing:
                    async with trio.open_nursery() as nursery:

                        async def write() -> None:
                            while True:
                                await trio.to_thread.run_sync(insert, server, ALICE, BOB)
                                await trio.sleep(0.2)

                        nursery.start_soon(write)
                        assert await changed_owner(client) == owner
                        assert await changed_owner(client) == owner
                        writing.cancel()


@pytest.mark.capability("GF-008", "GF-014", "GF-019", "GF-111")
async def test_permissions_go_by_the_name_that_the_token_has(server: Server):
    service = mint("service_role")
    config = {
        "name": "gf-staff",
        "permissions": {"read": ["staff", "guest"], "write": ["staff"]},
    }
    with trio.fail_after(WITHIN_S):
        assert (await request(server, "POST", "", service, config)).status_code == 201
        with pytest.raises(Closed) as refused:
            async with open_channel(
                server.port, "gf-staff", token=user_token("u", "authenticated")
            ):
                pass
        assert refused.value.code == 403

        staff_token, guest_token = user_token("s", "staff"), user_token("g", "guest")
        async with (
            open_channel(server.port, "gf-staff", token=staff_token) as staff,
            open_channel(server.port, "gf-staff", token=guest_token) as guest,
        ):
            await guest.send("broadcast", "e", n=1)
            error = await guest.expect("system", "error")
            assert error["payload"] == {
                "error": "insufficient permissions",
                "code": "PERMISSION_DENIED",
                "required_permission": "write",
            }
            await staff.send("broadcast", "e", n=2)
            assert (await guest.expect("message", "e"))["payload"] == {"n": 2}

            deleted = await request(server, "DELETE", "/gf-staff", service)
            assert deleted.status_code == 200
            for client in (staff, guest):
                closed = await client.expect("system", "channel_closed")
                assert closed["payload"]["reason"]
                with pytest.raises(Closed) as end:
                    await client.receive()
                assert end.value.code == 1000


async def test_a_channel_without_tokens_lets_in_who_has_none(server: Server):
    service = mint("service_role")
    config = {"name": "gf-lobby", "require_auth": False}
    with trio.fail_after(WITHIN_S):
        assert (await request(server, "POST", "", service, config)).status_code == 201
        async with open_websocket(server.port, path_of("gf-lobby")) as guest:
            assert "connected" in await guest.receive()
        with pytest.raises(Closed) as refused:
            async with open_websocket(server.port, path_of("gf-nowhere")):
                pass
        assert refused.value.code == 401
        assert (await request(server, "DELETE", "/gf-lobby", service)).status_code == 200
