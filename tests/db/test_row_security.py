from __future__ import annotations

import pytest
import trio
import trio.lowlevel

from actors.db.privileges import MAX_AGE_S
from actors.db.row_faults import ERROR_FAILED
from actors.realtime.ports import Identity
from tests.support.row_security import (
    ALICE,
    ANON,
    BOB,
    OWN,
    SERVICE,
    court,
    identity_of,
    insert,
    user,
)

pytestmark = pytest.mark.postgres


@pytest.mark.capability("M5-014", "M5-048", "M5-049", "M5-074")
async def test_a_row_is_shown_to_those_whose_policy_lets_them_read_it(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))

        assert await judge.seen([mine, other], user(ALICE)) == [mine]
        assert await judge.seen([mine, other], user(BOB)) == [other]
        assert await judge.seen([mine, other], SERVICE) == [mine, other]
        assert await judge.seen([mine, other], ANON) == []


async def test_a_row_is_judged_as_it_is_now(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        inserted, moved, gone, _ = await judge.written(
            insert(1, ALICE),
            f"update notes set user_id = '{BOB}'",
            insert(2, ALICE),
            "delete from notes where id = 2",
        )

        assert await judge.seen([inserted, moved, gone], user(ALICE)) == []
        assert await judge.seen([inserted, moved, gone], user(BOB)) == [inserted, moved]


KEYS = (
    ("id bigint primary key", "9007199254740993"),
    ("id uuid primary key", f"'{ALICE}'"),
    ("id text primary key", "'a \"b\" \\ {c}, ''d'' (e) %s ü 漢'"),
    ("id text primary key", "''"),
    ("id char(5) primary key", "'ab'"),
    ("id varchar(3) primary key", "'NUL'"),
    ('id "char" primary key', "'x'"),
    ("id bytea primary key", "'\\x00ff22'"),
    ("id bit(3) primary key", "'101'"),
    ("id numeric(6, 2) primary key", "1.10"),
    ("id timestamptz primary key", "'2026-01-02 03:04:05.123456+05'"),
    ("id date primary key", "'0044-03-15 BC'"),
    ("id interval primary key", "'1 year 2 days -03:04:05.5'"),
    ("id float8 primary key", "0.1"),
    ("id mood primary key", "'sad'"),
    ("id short primary key", "'dom'"),
    ("id pair primary key", "row(1, 'a b')"),
    ("id int[] primary key", "'{{1,2},{3,4}}'"),
    ("id int4range primary key", "'[1,5)'"),
    ("id inet primary key", "'192.0.2.1'"),
    ('"i""d %s" int primary key', "1"),
    ("a int, b text, primary key (b, a)", "1, 'x'"),
    ("a int, b text, primary key (a) include (b)", "1, 'x'"),
)


@pytest.mark.capability("M5-075")
@pytest.mark.parametrize("rows", [False, True])
async def test_a_row_is_found_by_a_key_of_any_type(notes, rows):
    notes.execute(
        "create type mood as enum ('glad', 'sad')",
        "create domain short as varchar(3)",
        "create type pair as (x int, y text)",
    )
    tables = [f'"o""dd %s {{}} {number}"' for number in range(len(KEYS))]
    for table, (definition, _) in zip(tables, KEYS, strict=True):
        notes.execute(
            f"create table {table} ({definition})",
            f"alter table {table} enable row level security",
            f"create policy everybody on {table} using (true)",
            f"grant select on {table} to anon",
        )
    async with court(notes, rows=rows) as judge:
        changes = await judge.written(
            *(
                f"insert into {table} values ({row})"
                for table, (_, row) in zip(tables, KEYS, strict=True)
            )
        )

        seen = await judge.seen(changes, ANON)

    assert [key for key, change in zip(KEYS, changes, strict=True) if change not in seen] == []


async def test_a_key_is_compared_by_the_operator_of_its_index(notes):
    notes.execute(
        "create schema apart",
        "create extension citext schema apart",
        "grant usage on schema apart to anon",
        "create table words (id apart.citext primary key)",
        "alter table words enable row level security",
        "create policy everybody on words using (true)",
        "grant select on words to anon",
    )
    async with court(notes) as judge:
        change, _ = await judge.written(
            "insert into words values ('Word')", "update words set id = 'wORD'"
        )

        assert await judge.seen([change], ANON) == [change]


async def test_a_renamed_table_and_its_renamed_columns_are_found_at_once(notes):
    notes.execute(OWN)
    async with court(notes) as judge:
        before, first = await judge.written(insert(1, ALICE), insert(2, ALICE))
        assert await judge.seen([before], user(ALICE)) == [before]
        notes.execute(
            "alter table notes rename to papers",
            "alter table papers rename column id to number",
            "alter table papers rename column user_id to id",
        )

        assert await judge.seen([first], user(ALICE)) == [first]


async def test_another_table_that_took_over_the_name_is_not_asked(notes):
    notes.execute("create policy nobody on notes using (false)")
    async with court(notes) as judge:
        first, second = await judge.written(insert(1, ALICE), insert(2, ALICE))
        assert await judge.seen([first], ANON) == []
        notes.execute(
            "alter table notes rename to papers",
            "create table notes (id int primary key)",
            "insert into notes values (1), (2)",
            "grant select on notes to anon",
        )

        assert await judge.seen([first, second], ANON) == []


async def test_a_partition_is_judged_by_the_policies_of_its_root_when_published_by_it(notes):
    notes.execute(
        "create table logs (id int primary key, user_id uuid) partition by range (id)",
        "create table logs_1 partition of logs for values from (1) to (100)",
        "alter table logs enable row level security",
        "create policy own on logs using (auth.uid() = user_id)",
        "grant select on logs to authenticated",
        "alter publication supabase_realtime set (publish_via_partition_root = true)",
    )
    async with court(notes) as judge:
        mine, other = await judge.written(
            f"insert into logs values (1, '{ALICE}')", f"insert into logs values (2, '{BOB}')"
        )

        assert await judge.seen([mine, other], user(ALICE)) == [mine]


async def test_whom_row_security_does_not_bind_is_asked_of_the_catalog(notes, made_roles):
    made_roles("overseer bypassrls", "boss superuser", "owner", "clerk in role owner")
    notes.execute(
        "grant select on notes to overseer, clerk",
        "alter table notes owner to owner",
    )
    roles = ("overseer", "boss", "owner", "clerk")
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        free = [role for role in roles if await judge.seen([change], identity_of(role))]
        notes.execute("alter table notes force row level security")
        await trio.sleep(MAX_AGE_S)
        forced = [role for role in roles if await judge.seen([change], identity_of(role))]

    assert free == ["overseer", "boss", "owner", "clerk"]
    assert forced == ["overseer", "boss"]


async def test_policies_of_inherited_roles_count(notes, made_roles):
    made_roles("staff", "intern in role staff", "temp noinherit in role staff")
    notes.execute(
        "grant select on notes to intern, temp",
        "create policy all_of_staff on notes to staff using (true)",
    )
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert await judge.seen([change], identity_of("intern")) == [change]
        assert await judge.seen([change], identity_of("temp")) == []


async def test_what_changes_about_policies_counts_within_a_second(notes):
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        outcomes = []
        for statement in (
            OWN,
            "drop policy own on notes",
            "alter table notes disable row level security",
            "revoke select on notes from authenticated",
        ):
            notes.execute(statement)
            await trio.sleep(MAX_AGE_S)
            outcomes.append(bool(await judge.seen([change], user(ALICE))))

    assert outcomes == [True, False, True, False]


@pytest.mark.parametrize(
    "claims",
    [
        '{"sub": "\'; drop table notes; --"}',
        '{"sub": "$$ || pg_sleep(100) || $$"}',
        '{"sub": "%s {0} \\\\ \\""}',
        "not json",
        "",
        "'",
    ],
)
@pytest.mark.capability("M5-015")
async def test_claims_are_values_whatever_is_in_them(notes, claims):
    notes.execute("create policy nobody on notes using (auth.uid() is not null)")
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))
        identity = Identity("authenticated", claims.encode(), 0.0)

        assert await judge.seen([change], identity) == []
        assert await judge.seen([change], user(ALICE)) == [change]


@pytest.mark.parametrize(
    "role",
    [
        "none",
        "postgres'; reset role; --",
        '"postgres"',
        "postgres",
        "authenticated; set role postgres",
        "",
        "\0",
    ],
)
@pytest.mark.capability("M5-017")
async def test_a_role_is_a_name_whatever_is_in_it(notes, role):
    notes.execute(OWN)
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))

        seen = await judge.seen([change], Identity(role, b"{}", 0.0))

        # The token is signed: whoever may sign for the superuser is one.
        assert seen == ([change] if role == "postgres" else [])


async def test_a_role_with_an_odd_name_is_asked_for_by_it(notes, made_roles):
    made_roles('"o\'dd ""one"" {} %s"')
    notes.execute(
        'grant select on notes to "o\'dd ""one"" {} %s"',
        "create policy me on notes using (current_user = 'o''dd \"one\" {} %s')",
    )
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert await judge.seen([change], identity_of('o\'dd "one" {} %s')) == [change]
        assert await judge.seen([change], ANON) == []


async def test_the_login_role_needs_replication_and_membership_and_nothing_else(
    notes, made_roles
):
    made_roles(
        "doorkeeper login replication noinherit in role anon, authenticated, service_role"
    )
    notes.execute(OWN, "revoke all on schema public from public")
    notes.execute("grant usage on schema public to anon, authenticated, service_role")
    async with court(notes, login="doorkeeper") as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))

        assert await judge.seen([mine, other], user(ALICE)) == [mine]
        assert await judge.seen([mine, other], ANON) == []
        assert await judge.seen([mine, other], SERVICE) == [mine, other]


async def test_a_role_that_the_login_role_may_not_take_is_refused(notes, made_roles):
    made_roles("doorkeeper login replication in role anon")
    notes.execute("create policy everybody on notes using (true)")
    async with court(notes, login="doorkeeper") as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert await judge.seen([change], ANON) == [change]
        assert (await judge.sight(change, user(ALICE))).fault == ERROR_FAILED


async def test_without_the_right_to_temporary_objects_rows_are_refused(notes, made_roles):
    made_roles("doorkeeper login replication in role anon")
    notes.execute(
        "create policy everybody on notes using (true)",
        f"revoke temporary on database {notes.name} from public",
    )
    async with court(notes, login="doorkeeper") as judge:
        (change,) = await judge.written(insert(1, ALICE))

        assert (await judge.sight(change, ANON)).fault == ERROR_FAILED
        notes.execute(f"grant temporary on database {notes.name} to doorkeeper")

        assert await judge.seen([change], ANON) == [change]


@pytest.mark.capability("GF-115", "GF-116", "GF-114", "GF-161")
@pytest.mark.parametrize(
    "condition",
    [
        "user_id = current_setting('app.current_user_id')::uuid",
        "user_id = current_setting('request.jwt.claim.sub')::uuid",
        "user_id = (current_setting('request.jwt.claims')::json ->> 'sub')::uuid",
    ],
)
async def test_a_policy_finds_the_user_under_the_name_of_each_document(notes, condition):
    notes.execute(f"create policy own on notes for select using ({condition})")
    async with court(notes) as judge:
        mine, other = await judge.written(insert(1, ALICE), insert(2, BOB))

        assert await judge.seen([mine, other], user(ALICE)) == [mine]
        assert await judge.seen([mine, other], user(BOB)) == [other]


async def test_a_user_id_is_not_left_to_who_has_none(notes):
    notes.execute(
        "create policy own on notes for select using"
        " (user_id::text = current_setting('app.current_user_id')"
        " or current_setting('app.current_user_id') = '' and id = 3)"
    )
    async with court(notes) as judge:
        changes = await judge.written(insert(1, ALICE), insert(2, BOB), insert(3, BOB))

        assert await judge.seen(changes, user(ALICE)) == [changes[0]]
        assert await judge.seen(changes, ANON) == [changes[2]]
