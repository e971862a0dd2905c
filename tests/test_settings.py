"""Settings from flags and variables."""

from __future__ import annotations

import attrs
import pytest

from actors.realtime.quota import QuotaLimits
from actors.settings import DEVELOPMENT_SECRET, Settings
from actors.settings_loading import InvalidSetting, flag, load, parser, variable

SECRET = "s" * 32


@pytest.mark.capability("SB-096")
def test_without_anything_the_defaults_hold():
    assert load([], {}) == Settings()


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default():
    environment = {"REALTIME_PORT": "1111", "REALTIME_HOST": "10.0.0.1"}

    settings = load(["--port", "2222"], environment)

    assert (settings.port, settings.host) == (2222, "10.0.0.1")


def test_an_empty_variable_is_one_that_was_not_filled_in():
    assert load([], {variable(field): "" for field in attrs.fields(Settings)}) == Settings()


@pytest.mark.parametrize("field", attrs.fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_a_flag_a_variable_and_a_line_of_help(field):
    text = parser().format_help()

    assert flag(field) in text
    assert variable(field) == "REALTIME_" + field.name.upper()


def test_quotas_are_off_unless_they_are_asked_for():
    assert load([], {}).quota_limits() == QuotaLimits()


def test_the_quotas_of_supabase_can_be_had_at_once_and_one_by_one_be_different():
    environment = {"REALTIME_LIMITS": "supabase", "REALTIME_MAX_EVENTS_PER_SECOND": "0"}

    quota = load(["--max-concurrent-users", "7"], environment).quota_limits()

    assert quota == QuotaLimits(
        max_concurrent_users=7,
        max_channels_per_client=100,
        max_joins_per_second=100,
        max_events_per_second=0,
        max_presence_events_per_second=1000,
        max_client_presence_events_per_window=5,
        client_presence_window_ms=30_000,
    )


def test_a_single_quota_needs_no_others():
    quota = load(["--max-channels-per-client", "3"], {}).quota_limits()

    assert quota == QuotaLimits(max_channels_per_client=3)


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("true", True), ("no", False)])
def test_a_switch_is_a_flag_without_value_or_a_word_in_its_variable(text, expected):
    assert load([], {"REALTIME_NO_DATABASE": text}).no_database is expected
    assert load(["--no-database"], {}).no_database is True


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--port", "many"], {}, "--port must be a number"),
        (["--port", "-1"], {}, "--port must be a number of at least 0"),
        (["--port", "99999"], {}, "--port must be a number of at most 65535"),
        ([], {"REALTIME_GRACE_S": "nan"}, "REALTIME_GRACE_S must be a number"),
        (["--env", "staging"], {}, "--env must be one of development, production"),
        (["--no-database", "--database-url", "x"], {}, "contradict"),
        (["--env", "production"], {}, "either --jwt-secret or --jwt-jwks must be provided"),
        (
            ["--env", "production", "--jwt-secret", DEVELOPMENT_SECRET],
            {},
            "either --jwt-secret or --jwt-jwks must be provided",
        ),
        (["--env", "production", "--jwt-secret", "short"], {}, "at least 32 bytes"),
        ([], {"REALTIME_NO_DATABASE": "perhaps"}, "REALTIME_NO_DATABASE must be true or false"),
    ],
)
def test_what_cannot_be_used_is_named_and_explained(arguments, environment, named):
    with pytest.raises(InvalidSetting, match=named):
        load(arguments, environment)


def test_production_with_a_secret_of_its_own_is_fine():
    assert load(["--env", "production"], {"REALTIME_JWT_SECRET": SECRET}).jwt_secret == SECRET


def test_secrets_do_not_show_in_what_may_be_logged():
    shown = repr(Settings(jwt_secret="hush", database_url="postgres://u:hush@x/y"))

    assert "hush" not in shown
