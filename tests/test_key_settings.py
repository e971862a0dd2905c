"""Settings of keys: where secret and JWKS come from, what contradicts what, and what production wants."""

from __future__ import annotations

import pytest

from actors.settings import DEVELOPMENT_SECRET
from actors.settings_loading import InvalidSetting, load
from tests.support.signing import ec_key, key_set, secret_key

SECRET = "s" * 32
JWKS = key_set(ec_key())


def test_without_any_key_the_development_secret_holds():
    settings = load([], {})

    assert (settings.signing_secret, settings.key_set) == (DEVELOPMENT_SECRET, None)


@pytest.mark.parametrize("secret", [{}, {"REALTIME_JWT_SECRET": ""}])
def test_with_a_jwks_alone_there_is_no_secret_at_all(secret):
    settings = load([], {"REALTIME_JWT_JWKS": JWKS} | secret)

    assert settings.signing_secret is None
    assert settings.key_set.key_ids() == ("ec",)


def test_a_secret_that_was_not_filled_in_is_the_development_secret():
    assert load([], {"REALTIME_JWT_SECRET": ""}).signing_secret == DEVELOPMENT_SECRET


def test_a_secret_and_a_jwks_go_together():
    settings = load([], {"REALTIME_JWT_JWKS": JWKS, "REALTIME_JWT_SECRET": SECRET})

    assert (settings.signing_secret, len(settings.key_set)) == (SECRET, 1)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_file_holds_the_secret_but_for_the_end_of_its_line(tmp_path, ending):
    path = tmp_path / "secret"
    path.write_bytes(f" {SECRET} {ending}".encode())

    assert load([], {"REALTIME_JWT_SECRET_FILE": str(path)}).signing_secret == f" {SECRET} "


def test_a_file_holds_the_jwks(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(JWKS)

    assert load(["--jwt-jwks-file", str(path)], {}).key_set.key_ids() == ("ec",)


def test_keys_that_are_to_be_fetched_are_none_yet():
    settings = load([], {"REALTIME_JWT_JWKS_URL": "https://x/auth/v1/.well-known/jwks.json"})

    assert (settings.signing_secret, len(settings.key_set)) == (None, 0)


def test_claims_are_wanted_as_a_json_object():
    settings = load([], {"REALTIME_JWT_CLAIM_VALIDATORS": '{"iss": "us", "level": 1}'})

    assert settings.jwt_claim_validators == {"iss": "us", "level": 1}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--jwt-jwks", "nonsense"], "--jwt-jwks must be a JWKS, which is a JSON object like"),
        (["--jwt-jwks", "{}"], "--jwt-jwks must be a JWKS"),
        (
            ["--jwt-jwks-file", "/nowhere"],
            r"must be a file that can be read \(/nowhere: No such",
        ),
        (["--jwt-secret-file", "/nowhere"], "must be a file that can be read"),
        (["--jwt-secret-file", "/dev/null"], "must be a file that is not empty"),
        (["--jwt-jwks-url", "ftp://x/y"], "an address that begins with https://"),
        (["--jwt-jwks-url", "https:///y"], "an address that begins with https://"),
        (["--jwt-jwks-url", "jwks.json"], "an address that begins with https://"),
        (["--jwt-jwks-refresh-s", "0"], "a number of at least 1"),
        (["--jwt-claim-validators", "iss"], "must be a JSON object"),
        (["--jwt-claim-validators", "[]"], "must be a JSON object"),
        (["--jwt-jwks", JWKS, "--jwt-jwks-url", "https://x"], "contradict each other"),
        (["--env", "production"], "either --jwt-secret or --jwt-jwks must be provided"),
        (["--env", "production", "--jwt-secret", ""], "must be provided in production"),
        (["--env", "production", "--jwt-jwks", JWKS, "--jwt-secret", "x"], "at least 32 bytes"),
        (
            ["--env", "production", "--jwt-jwks", JWKS, "--jwt-secret", DEVELOPMENT_SECRET],
            "the development keys are public",
        ),
    ],
)
def test_what_cannot_be_used_is_named_and_explained(arguments, named):
    with pytest.raises(InvalidSetting, match=named):
        load(arguments, {})


def test_a_file_and_a_variable_contradict_each_other(tmp_path):
    secret, jwks = tmp_path / "secret", tmp_path / "jwks.json"
    secret.write_text(SECRET)
    jwks.write_text('{"keys": []}')

    for arguments in (
        ["--jwt-secret", SECRET, "--jwt-secret-file", str(secret)],
        ["--jwt-jwks", JWKS, "--jwt-jwks-file", str(jwks)],
        ["--jwt-jwks-file", str(jwks), "--jwt-jwks-url", "https://x"],
    ):
        with pytest.raises(
            InvalidSetting, match=f"{arguments[0]} and {arguments[2]} contradict"
        ):
            load(arguments, {})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jwt-jwks", JWKS],
        ["--jwt-jwks-url", "https://x/jwks.json"],
        ["--jwt-jwks", JWKS, "--jwt-secret", SECRET],
    ],
)
def test_production_is_content_with_a_jwks(arguments):
    assert load(["--env", "production", *arguments], {}).key_set is not None


def test_keys_do_not_show_in_what_may_be_logged(tmp_path):
    path = tmp_path / "secret"
    path.write_text("hush" * 10)
    jwks = key_set(secret_key("hush" * 10))
    settings = [
        load(["--jwt-secret-file", str(path), "--jwt-jwks", jwks], {}),
        load(["--jwt-jwks-url", "https://user:hush@x/?apikey=hush"], {}),
    ]

    assert "hush" not in repr(settings)
