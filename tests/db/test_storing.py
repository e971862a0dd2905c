"""Broadcasts that clients want stored: what row security lets through, and what becomes of the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from attrs import evolve

from actors.db.driver import connect
from actors.db.janitor import KEPT
from actors.db.partitions import keep_partitions
from actors.db.pool import Pool
from actors.db.replay import PostgresReplay
from actors.db.schema import migrate
from actors.db.storing import UNSTORABLE, PostgresStorage
from actors.realtime.errors import Forbidden, NotPersisted, PolicyUndecided
from actors.realtime.ports import Identity, PolicyQuestion
from actors.realtime.stored_ports import ReplayQuestion, Storage
from protocol.events import UserBroadcast
from tests.support.embedded import query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.postgres import Database

pytestmark = pytest.mark.postgres


@pytest.fixture
async def migrated(database: Database) -> Database:
    async with await connect(database.conninfo) as connection:
        await migrate(connection)
        await keep_partitions(connection, KEPT)
    return database


@pytest.fixture
async def storage(migrated: Database) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(migrated.conninfo, timeout_s=5.0)
    yield storage
    storage.close()


def asked(
    payload=b'{"a": 1}', role="service_role", *, is_binary=False, ttl_s=None, **claims: Any
):
    body = json.dumps({"role": role} | claims).encode()
    question = PolicyQuestion("room", Identity(role, body, 4e9))
    message = UserBroadcast("e", payload, is_binary)
    return Storage(str(uuid4()), question, message, ttl_s)


async def replayed(database) -> list[bytes]:
    pool = Pool(database.conninfo)
    found = await PostgresReplay(pool).newest(ReplayQuestion("room", 0, 25, 1_000_000))
    pool.close()
    return [stored.message.payload for stored in found]


@pytest.mark.parametrize(
    ("payload", "is_binary"), [(b'{"a": 1}', False), (b"[1]", False), (b"\x00\xff", True)]
)
async def test_what_is_stored_may_be_replayed(migrated, storage, payload, is_binary):
    await storage.store(asked(payload, is_binary=is_binary))

    assert await replayed(migrated) == [payload]


async def test_without_a_policy_to_insert_it_is_forbidden(migrated, storage):
    with pytest.raises(Forbidden):
        await storage.store(asked(role="authenticated"))

    assert await replayed(migrated) == []


async def test_what_a_trigger_swallows_is_not_stored(migrated, storage):
    migrated.execute(
        "create function public.swallow() returns trigger language plpgsql as"
        " $$ begin return null; end $$",
        "create trigger swallow before insert on realtime.messages"
        " for each row execute function public.swallow()",
    )

    with pytest.raises(Forbidden):
        await storage.store(asked())


async def test_a_temporary_table_stands_for_no_other_one(migrated, storage):
    migrated.execute(
        "create table public.members (member text)",
        "grant select on public.members to authenticated",
        "create function public.is_member() returns boolean language plpgsql as $$ begin"
        " create temp table if not exists members (member text);"
        " insert into pg_temp.members values ('me');"
        " return exists (select from members); end $$",
        "create policy members on realtime.messages for insert with check (public.is_member())",
    )

    with pytest.raises(Forbidden):
        await storage.store(asked(role="authenticated"))


async def test_a_policy_sees_topic_claims_and_extension(migrated, storage):
    query(
        migrated.conninfo,
        "create policy p on realtime.messages for insert to authenticated with check ("
        " realtime.topic() = 'room' and extension = 'broadcast' and auth.jwt() ->> 'team' = 'a')",
    )

    await storage.store(asked(role="authenticated", team="a"))
    with pytest.raises(Forbidden):
        await storage.store(asked(role="authenticated", team="b"))

    assert len(await replayed(migrated)) == 1


async def test_nothing_of_one_sender_is_left_for_the_next(migrated, storage):
    await storage.store(asked())

    async with storage._pool.connection() as connection:
        cursor = await connection.execute(
            "select current_user = session_user, current_setting('request.jwt.claims', true)"
        )
        assert await cursor.fetchone() == (True, "")


@pytest.mark.parametrize("payload", [b'{"a": "\\u0000"}', b'"\\ud800"', b"1e999999"])
async def test_a_payload_that_jsonb_does_not_take_is_told(storage, payload):
    with pytest.raises(NotPersisted, match=UNSTORABLE):
        await storage.store(asked(payload))


async def test_an_event_that_is_no_text_to_postgres_is_told(storage):
    with pytest.raises(NotPersisted, match=UNSTORABLE):
        await storage.store(evolve(asked(), message=UserBroadcast("a\0b", b"{}", False)))


@pytest.mark.parametrize("role", ["nobody_knows", "none", "", "a\0b"])
async def test_a_role_that_cannot_be_taken_is_refused(storage, role):
    with pytest.raises((PolicyUndecided, Forbidden)):
        await storage.store(asked(role=role))


async def test_a_row_is_not_replayed_beyond_its_time(migrated, storage):
    await storage.store(asked(b"1", ttl_s=3600))
    await storage.store(asked(b"2", ttl_s=3600))
    migrated.execute(
        "update realtime.messages set replay_until = timezone('utc', now()) where payload = '1'"
    )

    assert await replayed(migrated) == [b"2"]


async def test_in_a_table_of_a_supabase_stack_the_time_is_ignored(migrated, storage):
    migrated.execute("alter table realtime.messages drop column replay_until")

    await storage.store(asked(b"1", ttl_s=3600))

    assert await replayed(migrated) == [b"1"]


async def test_a_database_that_is_away_is_told():
    storage = PostgresStorage("host=127.0.0.1 port=1 dbname=none", timeout_s=1.0)

    with pytest.raises(PolicyUndecided):
        await storage.store(asked())


async def test_a_policy_finds_the_user_id_of_goforward_when_a_broadcast_is_stored(
    migrated, storage
):
    query(
        migrated.conninfo,
        "create policy own on realtime.messages for insert to authenticated"
        " with check (current_setting('app.current_user_id') = 'ann')",
    )

    await storage.store(asked(role="authenticated", sub="ann"))
    with pytest.raises(Forbidden):
        await storage.store(asked(role="authenticated", sub="bob"))
