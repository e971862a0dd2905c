"""The settings that GoForward's document names: read as it writes them, and with the effect that it promises."""

from __future__ import annotations

import random

import pytest
import trio

from actors.realtime.change_feed import ChangeFeed, NobodySees
from actors.realtime.changelog import ChangeLog
from actors.realtime.errors import DatabaseUnavailable
from actors.realtime.listener import DbListener
from actors.realtime.table_rules import TableRules
from actors.settings import Settings
from actors.settings_loading import InvalidSetting, load
from actors.telemetry.metrics import Metrics
from tests.support.embedded import query
from tests.support.goforward import open_channel
from tests.support.goforward_http import Http
from tests.support.running_node import running_node
from tests.support.tokens import SECRET, mint

#: Without a setting it is a third of the server's patience, which is 20 seconds.
LAST_HEARD = "select reply_time from pg_stat_replication where reply_time is not null"
DOCUMENTED = {
    "REALTIME_MAX_CHANNELS": "1000",
    "REALTIME_MAX_USERS_PER_CHANNEL": "100",
    "REALTIME_ENABLE_METRICS": "true",
    "REALTIME_ENABLE_PRESENCE": "true",
    "REALTIME_ENABLE_DB_STREAMING": "true",
    "REALTIME_REPLICATION_SLOT": "realtime_slot",
    "REALTIME_PUBLICATION_NAME": "realtime_publication",
    "REALTIME_ENABLE_RLS": "true",
    "REALTIME_CONNECTION_TIMEOUT": "60s",
    "REALTIME_PING_INTERVAL": "30s",
    "REALTIME_CLEANUP_INTERVAL": "5m",
}


@pytest.mark.capability(
    "GF-096",
    "GF-097",
    "GF-098",
    "GF-099",
    "GF-100",
    "GF-101",
    "GF-102",
    "GF-103",
    "GF-104",
    "GF-105",
    "GF-106",
    "GF-086",
    "GF-087",
    "GF-089",
    "GF-090",
    "GF-093",
)
def test_the_environment_of_the_document_is_taken_as_it_stands():
    settings = load([], DOCUMENTED)

    assert settings == Settings(publication="realtime_publication", slot_suffix="realtime_slot")


@pytest.mark.capability("GF-107")
@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        *(("60", 60), ("60s", 60), ("5m", 300), ("24h", 86_400), ("1h30m", 5400)),
        *(("1500ms", 1.5), ("1.5h", 5400), (".5m", 30), ("1e3", 1000), ("2m.5s", 120.5)),
    ],
)
def test_a_duration_is_a_number_or_in_gos_notation(text, expected_s):
    assert load(["--idle-timeout-s", text], {}).idle_timeout_s == pytest.approx(expected_s)


def test_durations_of_other_units_take_the_same_notation():
    settings = load(["--messages-kept-h", "90m", "--client-presence-window-ms", "2s"], {})

    assert (settings.messages_kept_h, settings.client_presence_window_ms) == (1.5, 2000)


@pytest.mark.parametrize(
    "text", ["", "s", "5x", "1h 30m", "5m3", "-5m", "nan", "inf", "0", "1d"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidSetting, match="--idle-timeout-s must be a number"):
        load([f"--idle-timeout-s={text}"], {})


def test_two_names_of_one_setting_must_not_contradict_each_other():
    same = {"REALTIME_CONNECTION_TIMEOUT": "90s", "REALTIME_IDLE_TIMEOUT_S": "90s"}

    assert load([], same).idle_timeout_s == 90
    with pytest.raises(InvalidSetting, match="contradict each other"):
        load([], {**same, "REALTIME_IDLE_TIMEOUT_S": "60"})


def test_row_security_cannot_be_switched_off():
    with pytest.raises(InvalidSetting, match="REALTIME_ENABLE_RLS must be true"):
        load([], {"REALTIME_ENABLE_RLS": "false"})


def test_lists_are_read_with_commas():
    settings = load(
        ["--filter-tables", "messages, app.users", "--exclude-tables", "auth.*"],
        {"REALTIME_CHANNEL_ADMINS": "admin, owner"},
    )

    assert settings.channel_admins == {"admin", "owner"}
    assert settings.table_rules == TableRules(
        frozenset({("public", "messages"), ("app", "users")}), frozenset({("auth", "*")})
    )


def test_what_is_decided_about_channels_reaches_their_rules():
    flags = {
        "--max-channels": "7",
        "--max-users-per-channel": "8",
        "--channel-ttl-s": "9m",
        "--cleanup-interval-s": "10s",
        "--presence-ttl-s": "11s",
        "--auto-create-channels": "false",
        "--allow-anonymous-channels": "true",
    }

    rules = load([part for pair in flags.items() for part in pair], {}).channel_rules

    assert (rules.max_channels, rules.max_subscribers, rules.ttl_s) == (7, 8, 540)
    assert (rules.cleanup_every_s, rules.presence_ttl_s) == (10, 11)
    assert (rules.auto_create, rules.allow_anonymous) == (False, True)


@pytest.mark.capability("GF-091")
@pytest.mark.postgres
async def test_the_database_hears_from_the_stream_as_often_as_is_set(database):
    database.execute("create publication supabase_realtime")
    heard = set()
    with trio.fail_after(30):
        async with running_node(
            database.conninfo, jwt_secret=SECRET, heartbeat_interval_s=0.1, no_migrate=True
        ):
            while len(heard) < 4:
                await trio.sleep(0.05)
                heard |= set(query(database.conninfo, LAST_HEARD))


class Away:
    """A source whose database is away."""

    retention_bytes = None
    attempts = 0

    async def insert_position(self):
        self.attempts += 1
        raise DatabaseUnavailable("away")

    async def release(self, _lsn) -> None:
        raise DatabaseUnavailable("away")


@pytest.mark.capability("GF-092")
@pytest.mark.parametrize(("within_s", "attempts"), [(1.0, 590), (30.0, 15)])
async def test_a_database_that_is_away_is_asked_as_often_as_is_set(
    within_s, attempts, autojump_clock
):
    source = Away()
    feed = ChangeFeed(ChangeLog(1 << 20, 60.0), NobodySees())
    listener = DbListener(source, feed, random.Random(1), Metrics(), within_s)

    with trio.move_on_after(600):
        await listener._follow()

    assert attempts <= source.attempts <= attempts * 3


def node_of(**settings):
    quick = {"join_error_delay_s": 0.0, "connect_error_delay_s": 0.0, "jwt_secret": SECRET}
    return running_node(None, no_database=True, **quick, **settings)


@pytest.mark.parametrize(
    ("settings", "method", "path", "body", "expected"),
    [
        ({"max_channels": 1}, "POST", "", {"name": "b"}, (429, "CHANNEL_LIMIT_REACHED")),
        ({"enable_metrics": False}, "GET", "/room/stats", None, (403, "FEATURE_DISABLED")),
        (
            {"enable_presence": False},
            "POST",
            "/room/presence",
            {"state": {}},
            (403, "FEATURE_DISABLED"),
        ),
        (
            {"enable_broadcast": False},
            "POST",
            "/room/broadcast",
            {"event": "e"},
            (403, "FEATURE_DISABLED"),
        ),
        (
            {"channel_creators": frozenset({"admin"})},
            "POST",
            "",
            {"name": "b"},
            (403, "PERMISSION_DENIED"),
        ),
    ],
)
async def test_a_setting_has_its_effect_on_requests(settings, method, path, body, expected):
    with trio.fail_after(20):
        async with node_of(**settings) as node:
            http = Http(node.port)
            await http.by_admin("POST", "/realtime/channels", {"name": "room"})

            status, answer = await http.ask(method, f"/realtime/channels{path}", body)

    assert (status, answer["code"]) == expected


async def test_subscribers_are_bounded_as_is_set():
    with trio.fail_after(20):
        async with (
            node_of(max_users_per_channel=1) as node,
            open_channel(node.port, "room", "ann"),
        ):
            http = Http(node.port)
            _, created = await http.by_admin("POST", "/realtime/channels", {"name": "room"})

    assert created["config"]["max_subscribers"] == 1
    assert created["subscriber_count"] == 1


async def test_roles_may_do_everything_that_are_set_to():
    with trio.fail_after(20):
        async with node_of(channel_admins=frozenset({"admin"})) as node:
            http = Http(node.port)
            closed = {"name": "room", "permissions": {"read": []}}
            await http.by_admin("POST", "/realtime/channels", closed)

            found, _ = await http.ask(
                "DELETE", "/realtime/channels/room", token=mint("admin", sub="ann")
            )

    assert found == 200


async def test_clients_without_a_token_come_into_channels_that_nobody_created_if_that_is_set():
    with trio.fail_after(20):
        async with (
            node_of(allow_anonymous_channels=True) as node,
            open_channel(node.port, "lobby", token=" "),
        ):
            http = Http(node.port)
            _, found = await http.by_admin("GET", "/realtime/channels")

    assert found["channels"] == [{"name": "lobby", "subscriber_count": 1, "presence_count": 1}]
