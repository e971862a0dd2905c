"""Row changes of GoForward's channels over HTTP: subscribed, delivered on sockets, counted, ended."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.managed_channels import ChannelRules
from actors.realtime.table_rules import TableRules, parse_tables
from protocol.goforward.ids import timestamp
from tests.support.goforward import Member
from tests.support.goforward_api import now, open_goforward
from tests.support.hostile_strings import HOSTILE_STRINGS
from tests.support.source import MemorySource
from tests.support.triggers import MemoryTableTriggers

FILTER = {
    "table": "notes",
    "schema": "public",
    "events": ["INSERT", "UPDATE", "DELETE"],
    "columns": ["id", "body"],
    "condition": "body = 'a' OR id > 5",
}
ADMIN = "service_role"


async def subscribe(api, *, room="room", **body):
    return await api.post(f"/{room}/subscribe", {"table": "notes", **body})


async def rows(member) -> list[int]:
    """Return the ids of the rows that came, in order."""
    found = [m for m in await member.received() if m["type"] == "database_change"]
    return [m["payload"]["change"]["new_record"]["id"] for m in found]


@pytest.mark.capability("GF-051", "GF-052")
async def test_subscribing_answers_the_filter_as_it_was_given(autojump_clock):
    async with open_goforward(source=MemorySource()) as api:
        await api.create()

        answer = await api.post("/room/subscribe", FILTER)

        assert answer.status == 200
        assert answer.value == {
            "message": "subscribed to database changes",
            "channel": "room",
            "filter": FILTER,
        }


@pytest.mark.capability("GF-053", "GF-144")
async def test_table_and_events_are_enough(autojump_clock):
    async with open_goforward(source=MemorySource()) as api:
        await api.create()

        answer = await subscribe(api, events=["INSERT", "UPDATE"])

        assert answer.value["filter"] == {
            "table": "notes",
            "schema": "public",
            "events": ["INSERT", "UPDATE"],
        }


@pytest.mark.capability("GF-054", "GF-055", "GF-081")
async def test_members_get_the_rows_that_match_with_the_columns_that_were_asked_for(
    autojump_clock,
):
    source = MemorySource()
    async with open_goforward(source=source) as api:
        await api.create()
        before = Member(api.stage, "ann")
        await before.received()

        await subscribe(api, columns=["id"], condition=FILTER["condition"])
        after = Member(api.stage, "bob")
        await after.received()
        await before.received()
        source.insert((1, "a"), (2, "b"), (7, "a"))

        assert await rows(before) == [1, 7]
        changes = [m for m in await after.received() if m["type"] == "database_change"]
        assert [m["payload"]["change"]["new_record"] for m in changes] == [{"id": 1}, {"id": 7}]


@pytest.mark.capability("GF-062")
async def test_subscriptions_are_listed_with_what_was_sent(autojump_clock):
    source = MemorySource()
    async with open_goforward(source=source) as api:
        await api.create()
        created_at = timestamp(now())
        await subscribe(api, events=["INSERT"])
        member = Member(api.stage, "ann")
        await member.received()
        before = await api.send("GET", "/realtime/subscriptions")
        source.insert((1, "a"), (2, "b"))
        await member.received()

        after = await api.send("GET", "/realtime/subscriptions")

        (subscription,) = before.value["subscriptions"]
        assert subscription.pop("id").startswith("sub_")
        assert subscription == {
            "channel_name": "room",
            "filter": {"table": "notes", "schema": "public", "events": ["INSERT"]},
            "user_id": "ann",
            "created_at": created_at,
            "last_activity": created_at,
            "message_count": 0,
        }
        assert before.value["total"] == 1
        assert after.value["subscriptions"][0]["message_count"] == 2


async def test_subscriptions_of_channels_that_one_may_not_read_are_not_listed(autojump_clock):
    async with open_goforward(source=MemorySource()) as api:
        await api.create(permissions={"read": ["admin"]})
        await api.post("/room/subscribe", {"table": "notes"}, token="admin")

        as_user = await api.send("GET", "/realtime/subscriptions")
        as_admin = await api.send("GET", "/realtime/subscriptions", token="admin")

        assert (as_user.value["total"], as_admin.value["total"]) == (0, 1)


async def test_the_same_subscription_twice_is_one(autojump_clock):
    async with open_goforward(source=MemorySource()) as api:
        await api.create()

        first, second = await subscribe(api), await subscribe(api)

        assert first.headers["location"] == second.headers["location"]
        assert len(api.managed.get("room").changes) == 1


async def test_a_subscription_is_ended_by_who_made_it_or_manages_the_channel(autojump_clock):
    source = MemorySource()
    async with open_goforward(source=source) as api:
        await api.create(permissions={"admin": ["admin"]})
        member = Member(api.stage, "ann")
        first = (await subscribe(api)).headers["location"]

        by_other = await api.send("DELETE", first, token="user bob 1e12")
        by_owner = await api.send("DELETE", first)
        again = await api.send("DELETE", first)
        second = (await subscribe(api)).headers["location"]
        by_admin = await api.send("DELETE", second, token="admin")
        await member.received()
        source.insert((1, "a"))

        assert [by_other.status, by_owner.status, again.status, by_admin.status] == [
            *(403, 200, 404, 200)
        ]
        assert await rows(member) == []


async def test_a_channel_has_no_more_subscriptions_than_it_may_have(autojump_clock):
    rules = ChannelRules(max_subscriptions=1)
    async with open_goforward(source=MemorySource(), rules=rules) as api:
        await api.create()
        await subscribe(api)

        refused = await subscribe(api, events=["INSERT"])

        assert (refused.status, refused.code) == (429, "RATE_LIMIT_EXCEEDED")


@pytest.mark.parametrize(
    ("body", "status", "details"),
    [
        ({"table": "nonexistent"}, 404, "Table 'nonexistent' does not exist"),
        ({"schema": "other"}, 404, "Table 'notes' does not exist"),
        ({"table": "hidden"}, 400, "Table 'hidden' is not published"),
        ({"table": "secret"}, 400, "Table 'secret' is not followed"),
        ({"columns": ["nope"]}, 400, "invalid column for select nope"),
        ({"condition": "nope = 1"}, 400, "invalid column for filter nope"),
        ({"condition": "body ="}, 400, ""),
        ({"condition": "1=1; DROP TABLE notes"}, 400, ""),
        ({"condition": "body = (SELECT 1)"}, 400, ""),
        ({"table": None}, 400, ""),
        ({"events": ["TRUNCATE"]}, 400, "events are"),
    ],
)
async def test_what_cannot_be_had_is_told_at_once(body, status, details, autojump_clock):
    tables = TableRules(excluded=parse_tables("secret"))
    async with open_goforward(source=MemorySource(), tables=tables) as api:
        await api.create()
        api.stage.database.unpublished = {("public", "hidden"), ("public", "secret")}

        refused = await subscribe(api, **body)

        assert (refused.status, refused.code) == (status, "DB_SUBSCRIPTION_FAILED")
        assert refused.value["error"] == "failed to subscribe to database changes"
        assert details in refused.value["details"]
        assert api.managed.get("room").changes == {}


async def test_a_database_that_is_away_is_told_and_nothing_is_kept(autojump_clock):
    async with open_goforward(source=MemorySource()) as api:
        await api.create()
        api.stage.database.errors.append(DatabaseUnavailable("away"))

        refused = await subscribe(api)

        assert (refused.status, refused.code) == (503, "UNAVAILABLE")
        assert api.managed.get("room").changes == {}


@pytest.mark.parametrize("place", ["table", "schema", "columns", "condition"])
@pytest.mark.capability("GF-159")
async def test_hostile_texts_do_no_harm(place, autojump_clock):
    async with open_goforward(source=MemorySource()) as api:
        await api.create()
        for text in HOSTILE_STRINGS:
            value = [text] if place == "columns" else text
            refused = await subscribe(api, **{place: value})

            assert refused.status in (200, 400, 404), (text, refused)


async def test_a_role_that_may_not_write_subscribes_nobody(autojump_clock):
    async with open_goforward(source=MemorySource()) as api:
        await api.create(permissions={"write": ["admin"]}, require_auth=False)

        as_user = await subscribe(api)
        as_nobody = await api.post("/room/subscribe", {"table": "notes"}, token=None)

        assert (as_user.status, as_user.value["required_permission"]) == (403, "write")
        assert as_nobody.status == 401


@pytest.mark.capability("GF-095", "GF-094")
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (TableRules(), [1]),
        (TableRules(only=parse_tables("notes")), [1]),
        (TableRules(only=parse_tables("users")), []),
        (TableRules(excluded=parse_tables("public.*")), []),
    ],
)
async def test_nothing_of_a_table_beyond_the_lists_gets_through(
    rules, expected, autojump_clock
):
    source = MemorySource()
    async with open_goforward(source=source, tables=rules) as api:
        client = api.stage.connect(role="authenticated")
        await client.joined(postgres_changes=[{"event": "*", "schema": "*"}])
        await client.received()

        source.insert((1, "a"))

        found = [m.payload for m in await client.received() if m.event == "postgres_changes"]
        assert [payload["data"]["record"]["id"] for payload in found] == expected


@pytest.mark.parametrize("text", ["a.", "a,b.", "."])
def test_a_list_of_tables_has_names(text):
    with pytest.raises(ValueError, match="tables separated by commas"):
        parse_tables(text)


@pytest.mark.capability("GF-057", "GF-058")
async def test_operators_switch_tables_on_and_off(autojump_clock):
    triggers = MemoryTableTriggers({("public", "messages"), ("app", "messages")})
    async with open_goforward(triggers=triggers) as api:
        on = await api.send("POST", "/realtime/triggers/messages", token=ADMIN)
        other = await api.send("POST", "/realtime/triggers/messages?schema=app", token=ADMIN)
        off = await api.send("DELETE", "/realtime/triggers/messages", token=ADMIN)

        assert on.value == {"message": "trigger setup successfully", "table": "messages"}
        assert off.value == {"message": "trigger removed successfully", "table": "messages"}
        assert other.status == 200
        assert triggers.enabled == {("app", "messages")}


async def test_tables_that_cannot_be_switched_are_told_why(autojump_clock):
    triggers = MemoryTableTriggers(set(), {("public", "foreign")})
    async with open_goforward(triggers=triggers) as api:
        missing = await api.send("POST", "/realtime/triggers/none", token=ADMIN)
        foreign = await api.send("POST", "/realtime/triggers/foreign", token=ADMIN)
        by_user = await api.send("POST", "/realtime/triggers/messages")
        hostile = await api.send("POST", "/realtime/triggers/a%00b", token=ADMIN)
        triggers.advice = "away"
        away = await api.send("POST", "/realtime/triggers/messages", token=ADMIN)

        found = [one.status for one in (missing, foreign, by_user, hostile, away)]
        assert found == [404, 403, 403, 400, 503]
        assert foreign.value["details"] == "must be owner of table foreign"


async def test_without_a_database_there_are_no_triggers(autojump_clock):
    async with open_goforward() as api:
        found = await api.send("POST", "/realtime/triggers/messages", token=ADMIN)

        assert (found.status, found.code) == (403, "FEATURE_DISABLED")


@pytest.mark.capability("GF-019", "GF-035")
async def test_sockets_are_told_that_their_channel_was_deleted_and_closed(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        member = Member(api.stage, "ann")
        await member.received()

        await api.delete("/room")

        messages = await member.received()
        assert (messages[-1]["type"], messages[-1]["event"]) == ("system", "channel_closed")
        assert messages[-1]["payload"] == {"reason": "The channel was deleted"}
        assert member.close_code == 1000


async def test_a_socket_whose_role_may_not_read_any_more_is_told_so(autojump_clock):
    async with open_goforward() as api:
        member = Member(api.stage, "ann", role="authenticated")
        await member.received()

        await api.post("", {"name": "room", "permissions": {"read": ["admin"]}})

        (message,) = await member.received()
        assert message["event"] == "error"
        assert message["payload"]["code"] == "PERMISSION_DENIED"
        assert member.close_code == 1008


async def test_a_broadcast_over_http_has_its_id_on_the_socket(autojump_clock):
    async with open_goforward() as api:
        await api.create()
        member = Member(api.stage, "bob")
        await member.received()

        answer = await api.post(
            "/room/broadcast", {"event": "e", "type": "broadcast", "payload": {"n": 1}}
        )

        (message,) = await member.received()
        assert message["id"] == answer.value["id"]
        assert (message["type"], message["event"]) == ("broadcast", "e")
        assert (message["payload"], message["user_id"]) == ({"n": 1}, "ann")


async def test_visitors_are_seen_on_sockets_until_their_time_is_over(autojump_clock):

    async with open_goforward(rules=ChannelRules(presence_ttl_s=60), keeps=True) as api:
        await api.create()
        early = Member(api.stage, "bob")
        await early.received()
        await api.post("/room/presence", {"state": {"status": "online"}})
        seen = await early.received()
        late = Member(api.stage, "cid")
        seen_late = await late.received()
        await early.received()
        await trio.sleep(70)

        gone = await early.received()

        assert [(m["event"], m["payload"]["user_id"]) for m in seen] == [("join", "ann")]
        assert "ann" in [m["payload"].get("user_id") for m in seen_late]
        assert [(m["event"], m["payload"]["user_id"]) for m in gone] == [("leave", "ann")]
        assert (await api.get("/room/presence")).value["presence"].keys() == {"bob", "cid"}


async def test_a_visitor_who_comes_by_socket_is_there_once(autojump_clock):
    async with open_goforward(keeps=True) as api:
        await api.create()
        watcher = Member(api.stage, "bob")
        await api.post("/room/presence", {"state": {"status": "online"}})
        await watcher.received()

        Member(api.stage, "ann")
        await wait_all_tasks_blocked()
        found = await api.get("/room/presence")

        assert "status" not in found.value["presence"]["ann"]
        assert json.dumps(found.value["connected_users"]) == '["bob", "ann"]'
