from __future__ import annotations

import pytest
import trio

from actors.db.row_faults import ERROR_FAILED
from tests.support.row_security import (
    ALICE,
    BOB,
    OWN,
    SERVICE,
    court,
    identity_of,
    insert,
    user,
)

pytestmark = pytest.mark.postgres

FULL = "alter table notes replica identity full"
ALL = {"id", "user_id", "body"}


@pytest.fixture
def notes(notes):
    """The table, whose rows are for their owners."""
    notes.execute(OWN)
    return notes


#: A row that is a secret of Bob's until it is given to Alice with nothing in it.
RACE = (
    insert(1, BOB, "secret of Bob"),
    f"update notes set user_id = '{ALICE}', body = 'for Alice'",
)


@pytest.mark.parametrize(("rows", "leaked"), [(False, True), (True, False)])
async def test_a_row_changed_between_commit_and_check_leaks_unless_rows_are_strict(
    notes, rows, leaked
):
    async with court(notes, rows=rows) as judge:
        secret, gift = await judge.written(*RACE)

        seen = await judge.seen([secret, gift], user(ALICE))

    assert (secret in seen) == leaked
    assert gift in seen


@pytest.mark.parametrize(("rows", "leaked"), [(False, True), (True, False)])
async def test_many_races_leak_unless_rows_are_strict(notes, rows, leaked):
    """Bob writes rows and gives them away, while Alice is asked about them as they come."""
    leaks = 0
    async with court(notes, rows=rows) as judge:
        for number in range(1, 31):
            secret, _ = await judge.written(
                insert(number, BOB, "secret"),
                f"update notes set user_id = '{ALICE}', body = '' where id = {number}",
            )
            leaks += len(await judge.seen([secret], user(ALICE)))

    assert (leaks > 0) == leaked


async def test_strict_rows_compare_what_the_role_may_read(notes):
    notes.execute(
        "revoke select on notes from authenticated",
        "grant select (id, user_id) on notes to authenticated",
    )
    async with court(notes, rows=True) as judge:
        first, _, other, _ = await judge.written(
            insert(1, ALICE),
            "update notes set body = 'other' where id = 1",
            insert(2, ALICE),
            "update notes set id = 3 where id = 2",
        )

        assert await judge.seen([first, other], user(ALICE)) == [first]


async def test_strict_rows_let_rows_through_that_did_not_change(notes):
    notes.execute(
        """create table things (
            id int primary key, yes bool, padded char(5), net inet, doc json, at timestamptz,
            real_ float4, bytes_ bytea, span interval, xs text[], place point, long text)""",
        "alter table things alter long set storage external",
        "alter table things enable row level security",
        "create policy everybody on things using (true)",
        "grant select on things to anon",
    )
    async with court(notes, rows=True) as judge:
        changes = await judge.written(
            """insert into things values (1, true, 'ab', '192.0.2.1', '{"b": 1,  "a": 2}', now(),
                0.1, '\\x00ff', '1 day 2 hours', '{a,NULL,"b c"}', '(1,2)', repeat('x', 9000))""",
            "insert into things (id) values (2)",
            "update things set yes = false where id = 1",
        )

        seen = await judge.seen(changes, identity_of("anon"))

    # The first is not any more what it was; the long value of the last is not in the log.
    assert seen == changes[1:]


async def test_strict_rows_show_the_key_alone_of_what_a_row_was(notes):
    notes.execute(FULL)
    async with court(notes, rows=True) as judge:
        _, given = await judge.written(*RACE)

        assert (await judge.sight(given, user(ALICE))).key_only
        assert not (await judge.sight(given, SERVICE)).key_only


async def test_deletes_are_told_to_everybody_unless_they_are_strict(notes):
    notes.execute(FULL)
    async with court(notes) as judge:
        _, deleted = await judge.written(insert(1, ALICE), "delete from notes")

        for sub in (ALICE, BOB):
            assert (await judge.sight(deleted, user(sub))).key_only


async def test_strict_deletes_are_told_to_those_who_could_see_the_row(notes):
    notes.execute(FULL)
    async with court(notes, deletes=True) as judge:
        _, deleted = await judge.written(
            insert(1, ALICE, 'a "b" (c, d) \\ {e}'), "delete from notes"
        )

        sight = await judge.sight(deleted, user(ALICE))
        assert (sight.columns, sight.key_only) == (ALL, False)
        assert await judge.sight(deleted, user(BOB)) is None
        assert (await judge.sight(deleted, SERVICE)).columns == ALL


async def test_strict_deletes_are_withheld_when_the_whole_row_is_not_known(notes):
    async with court(notes, deletes=True) as judge:
        _, deleted = await judge.written(insert(1, ALICE), "delete from notes")

        assert await judge.sight(deleted, user(ALICE)) is None
        assert (await judge.sight(deleted, SERVICE)).columns == ALL


async def test_strict_deletes_of_a_table_without_row_security_are_shown(notes):
    notes.execute(FULL, "alter table notes disable row level security")
    async with court(notes, deletes=True) as judge:
        _, deleted = await judge.written(insert(1, ALICE), "delete from notes")

        assert (await judge.sight(deleted, user(BOB))).columns == ALL


#: Policies on `notes`, and for whom they let Alice's note be seen.
POLICIES = (
    (("using (auth.uid() = user_id)",), {ALICE}),
    (("using (auth.uid() <> user_id)",), {BOB}),
    (("using (false)", "using (auth.uid() = user_id)"), {ALICE}),
    (("using (true)", "as restrictive using (auth.uid() = user_id)"), {ALICE}),
    (("as restrictive using (true)",), set()),
    (("using (true)", "as restrictive using (null)"), set()),
    (("using (true)", "as restrictive to anon using (false)"), {ALICE, BOB}),
    (("to anon using (true)",), set()),
    (("for update using (true)",), set()),
    (("for select using (true)",), {ALICE, BOB}),
    (("with check (true)",), set()),
    (("using (null)",), set()),
    (("using (body like '%s{0}''%' or notes.user_id = auth.uid())",), {ALICE}),
    (("using (is_mine(notes))",), {ALICE}),
    (("using (is_mine(notes.*))",), {ALICE}),
    (
        ("using (exists (select from members where member = auth.uid() and notes.id = id))",),
        {BOB},
    ),
    (("using (id in (select id from members where member = auth.uid()))",), {BOB}),
    (("using ((select auth.uid()) = user_id)",), {ALICE}),
    (("using (current_user = 'authenticated')",), {ALICE, BOB}),
)


@pytest.mark.parametrize(("policies", "expected"), POLICIES)
async def test_the_policies_of_a_deleted_row_are_those_of_the_table(notes, policies, expected):
    notes.execute(
        FULL,
        "drop policy own on notes",
        "create table members (id int, member uuid)",
        f"insert into members values (1, '{BOB}'), (2, '{ALICE}')",
        "grant select on members to authenticated",
        """create function is_mine(note notes) returns bool language sql stable as
            $$ select note.user_id = auth.uid() $$""",
        *(f'create policy "p {n}" on notes {policy}' for n, policy in enumerate(policies)),
    )
    async with court(notes, deletes=True) as judge:
        _, deleted = await judge.written(insert(1, ALICE), "delete from notes")

        shown = {sub for sub in (ALICE, BOB) if await judge.seen([deleted], user(sub))}

    assert shown == expected


@pytest.mark.parametrize(
    "policy",
    [
        "using (ctid is not null)",
        "using (tableoid is not null)",
        "using (1 / (id - 1) is null)",
        "using (exists (select from forbidden))",
        "using (exists (select from notes other where other.id = notes.id))",
    ],
)
async def test_a_policy_that_cannot_judge_what_was_fails_closed(notes, policy):
    notes.execute(
        FULL,
        "drop policy own on notes",
        "create table forbidden ()",
        f"create policy odd on notes {policy}",
    )
    async with court(notes, deletes=True) as judge:
        _, deleted = await judge.written(insert(1, ALICE), "delete from notes")

        sight = await judge.sight(deleted, user(ALICE))

    assert (sight.columns, sight.fault) == (frozenset(), ERROR_FAILED)


async def test_a_row_with_generated_columns_is_not_whole_and_fails_closed(notes):
    notes.execute(FULL, "alter table notes add twice int generated always as (id * 2) stored")
    async with court(notes, deletes=True) as judge:
        _, deleted = await judge.written(
            f"insert into notes values (1, '{ALICE}', 'x')", "delete from notes"
        )

        assert await judge.sight(deleted, user(ALICE)) is None


async def test_a_table_that_changed_since_the_delete_fails_closed(notes):
    notes.execute(FULL)
    async with court(notes, deletes=True) as judge:
        _, deleted = await judge.written(insert(1, ALICE), "delete from notes")
        notes.execute("alter table notes add is_public bool")
        added = await judge.sight(deleted, user(ALICE))
        notes.execute(
            "alter table notes drop is_public", "alter table notes rename body to words"
        )
        await trio.sleep(1.0)
        renamed = await judge.sight(deleted, user(ALICE))

    assert added is None
    assert renamed.columns == ALL
