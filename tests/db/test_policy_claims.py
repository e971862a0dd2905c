"""Who shares what the policies of a table read of claims is asked about once, and answered as if asked alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from actors.db.claim_excerpts import ClaimExcerpts
from actors.db.policy_claims import claims_read
from actors.db.pool import Pool
from actors.db.privileges import Privileges
from actors.realtime.change_ports import Question
from actors.realtime.ports import Identity
from tests.support.row_security import ALICE, BOB, OWN, court, insert, user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.realtime.change_ports import Sight
    from protocol.changes.model import Change
    from tests.support.postgres import Database

CLAIMS = "nullif(current_setting('request.jwt.claims', true), '')"
TEAM = f"({CLAIMS}::json ->> 'team')"

#: Conditions, and the claims on which they depend; None that it may be any.
CONDITIONS = {
    "true": set(),
    "id > 0 and body is not null": set(),
    "body in ('red', 'blue') or body like 'r%' or lower(body) = 'x'": set(),
    "case when id = 1 then true else body is distinct from 'red' end": set(),
    f"body = {TEAM}": {"team"},
    f"body = (select {TEAM})": {"team"},
    "body = (current_setting('request.jwt.claims', true)::jsonb ->> 'team')": {"team"},
    f"body = (({CLAIMS}::jsonb -> 'app') ->> 'team')": {"app"},
    f"body = {TEAM} or body = ({CLAIMS}::json ->> 'it''s')": {"team", "it's"},
    f"coalesce({TEAM}, 'red') = body": {"team"},
    f"{TEAM} is null": {"team"},
    "user_id::text = current_setting('request.jwt.claim.sub', true)": {"sub"},
    "user_id::text = current_setting('app.current_user_id', true)": {"sub"},
    "auth.uid() = user_id": None,
    f"{CLAIMS} like '%red%'": None,
    f"({CLAIMS}::json ->> body) is not null": None,
    f"({CLAIMS}::json #>> '{{team}}') = body": None,
    "current_setting('request.jwt.' || 'claims', true) like '%red%'": None,
    "exists (select from pg_settings where name = 'request.jwt.claims' and setting like '%red%')": None,
    "exists (select from pg_class)": None,
    "notes.*::text like '%red%'": None,
    "mood = 'red'": None,
    "body = any (regexp_split_to_array('red', ','))": None,
}
MOOD = "create domain mood as text; alter table notes add column mood mood default 'red'"

#: Claims in forms that are read the same, or differently, or not at all.
TOKENS = (
    b"{}",
    b'{"team":"red"}',
    b'{"team":"red","exp":1}',
    b'{"team":"blue","app":{"team":"red"}}',
    b'{"team":"blue","team":"red"}',
    b'{"team":"r\\u0065d"}',
    b'{"team":"red","\\u0000":1}',
    b'{"team":"red","n":1e400000}',
    b'{"team":"red","name":"Jos\xc3\xa9"}',
    b'{"team":null}',
    b'{"team":["red"]}',
    b'{"it\'s":"red"}',
    json.dumps({"sub": ALICE, "team": "blue"}).encode(),
    json.dumps({"sub": BOB, "team": "blue", "x": "red"}).encode(),
    b'{"sub":{"a":1}}',
)


@pytest.mark.postgres
@pytest.mark.parametrize("condition", CONDITIONS)
async def test_what_a_policy_reads_is_known_or_taken_to_be_everything(notes, condition):
    notes.execute(MOOD, f"create policy one on notes using ({condition})")
    with psycopg.connect(notes.conninfo) as connection:
        ((oid,),) = connection.execute("select 'notes'::regclass::oid::bigint").fetchall()
    pool = Pool(notes.conninfo)
    try:
        found = await Privileges(pool).find({(oid, "authenticated")})
    finally:
        pool.close()

    assert found[oid, "authenticated"].reading.claims == CONDITIONS[condition]


@pytest.mark.postgres
@pytest.mark.parametrize("condition", CONDITIONS)
async def test_everybody_is_shown_what_a_plain_query_shows(notes, condition):
    notes.execute(MOOD, f"create policy one on notes using ({condition})")
    identities = [Identity("authenticated", token, 0.0) for token in TOKENS]
    rows = [insert(1, ALICE, "red"), insert(2, BOB, "blue"), insert(3, BOB, "x")]
    rows = [row.replace("into notes", "into notes (id, user_id, body)") for row in rows]
    async with court(notes) as judge:
        changes = tuple(await judge.written(*rows))
        answers = await judge.visibility.check(
            [Question(identity, changes) for identity in identities]
        )

    for identity, answer in zip(identities, answers, strict=True):
        shown = [place for place, change in enumerate(changes, 1) if _is_shown(answer, change)]
        assert shown == [n for n in (1, 2, 3) if is_selected(notes, identity, n)], (
            identity.claims
        )


@pytest.mark.postgres
async def test_who_shares_what_policies_read_is_asked_about_once(notes):
    notes.execute(f"create policy team on notes using (body = {TEAM})")
    red = [user(str(number), team="red") for number in range(100)]
    blue = [user(str(number), team="blue") for number in range(100)]
    async with court(notes) as judge:
        (change,) = await judge.written(insert(1, ALICE, "red"))
        answers = await judge.visibility.check(
            [Question(identity, (change,)) for identity in red + blue]
        )

    assert [set(answer) for answer in answers] == [{change}] * 100 + [set()] * 100
    assert [arguments[1] for arguments in judge.calls] == [
        ['{"team":"red"}', '{"team":"blue"}']
    ]


@pytest.mark.postgres
async def test_a_policy_that_changed_a_moment_ago_is_not_answered_for_all_by_one(notes):
    notes.execute("create policy everybody on notes using (true)")
    async with court(notes) as judge:
        (before,) = await judge.written(insert(1, ALICE))
        questions = [Question(user(sub), (before,)) for sub in (ALICE, BOB)]
        assert [len(answer) for answer in await judge.visibility.check(questions)] == [1, 1]

        notes.execute("alter policy everybody on notes using (auth.uid() = user_id)")
        (after,) = await judge.written(insert(2, BOB))
        questions = [Question(user(sub), (after,)) for sub in (ALICE, BOB)]
        answers = await judge.visibility.check(questions)

    assert [set(answer) for answer in answers] == [set(), {after}]


@pytest.mark.postgres
async def test_a_policy_that_came_a_moment_ago_counts(notes):
    notes.execute("create policy everybody on notes using (true)")
    async with court(notes) as judge:
        (before,) = await judge.written(insert(1, ALICE))
        assert await judge.seen([before], user(BOB)) == [before]

        notes.execute(OWN.replace("policy own on notes", "policy own on notes as restrictive"))
        (after,) = await judge.written(insert(2, ALICE))
        questions = [Question(user(sub), (after,)) for sub in (ALICE, BOB)]
        answers = await judge.visibility.check(questions)

    assert [set(answer) for answer in answers] == [{after}, set()]


@pytest.mark.parametrize(
    "expression",
    [
        "current_setting('request.jwt.claims'::text, true)",
        "(e = E'\\'::text)",
        "(know = knownow())",
        "( SELECT t.id FROM auth.t)",
        "(id OPERATOR(public.=) 1)",
        "((id)::public.team = '1'::public.team)",
        "(NULLIF(current_setting('request.jwt.claims'::text, true), ''::text))::json ->> know",
        '("SELECT" = 1)',
        "(id = 1);",
    ],
)
def test_a_text_in_doubt_reads_everything(expression):
    assert claims_read([expression], {"id", "e", "know"}) is None


@pytest.mark.parametrize(
    ("claims", "read", "excerpt"),
    [
        (b'{"team": "a", "exp": 1}', {"team"}, '{"team":"a"}'),
        (
            b'{"team": {"b": 1.50, "a": [ ]}}',
            {"team", "other"},
            '{"team":{"b": 1.50, "a": [ ]}}',
        ),
        (b'{"b": 1, "a": 2}', {"a", "b"}, '{"a":2,"b":1}'),
        (b'{"team": "a"}', set(), "{}"),
    ],
)
def test_an_excerpt_has_what_is_read_byte_for_byte(claims, read, excerpt):
    assert ClaimExcerpts().of(claims, frozenset(read)) == excerpt


@pytest.mark.parametrize(
    "claims",
    [
        b'{"team": "a", "team": "b"}',
        b'{"team": {"a": 1, "a": 2}}',
        b'{"team": "\\u0000"}',
        b'{"team": 1e999999}',
        b'{"team": 1' + b"0" * 200_000 + b"}",
        b'{"team": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"team": NaN}',
        '{"team": "ä"}'.encode(),
        b"[]",
        b"no JSON",
    ],
)
def test_claims_that_postgres_might_refuse_are_asked_about_whole(claims):
    assert ClaimExcerpts().of(claims, frozenset({"x"})) == claims.decode()


def _is_shown(answer: Mapping[Change, Sight], change: Change) -> bool:
    return change in answer and bool(answer[change].columns)


def is_selected(database: Database, identity: Identity, number: int) -> bool:
    """Whether a plain query of the identity finds the row; not if it fails."""
    claims = identity.claims.decode()
    try:
        with psycopg.connect(database.conninfo) as connection:
            connection.execute(
                "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                (identity.role, claims),
            )
            for setting in ("request.jwt.claim.sub", "app.current_user_id"):
                connection.execute(
                    "select set_config(%s, coalesce(%s::json ->> 'sub', ''), true)",
                    (setting, claims),
                )
            found = connection.execute("select from notes where id = %s", (number,)).fetchall()
    except psycopg.Error:
        return False
    return bool(found)
