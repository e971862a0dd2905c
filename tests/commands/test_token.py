"""A token that the command makes is good, and of one that is not it says why and what to do."""

from __future__ import annotations

import json
import time

import pytest
import trio

from actors.commands import token as command
from actors.settings import DEVELOPMENT_SECRET
from tests.commands.test_doctor import troupe
from tests.support.signing import ec_key
from tests.support.tokens import SECRET, mint

HALF_AN_HOUR = 1800
WITH_SECRET = ("--jwt-secret", SECRET)


def run(capsys, *arguments: str, **environment: str) -> tuple[int, str]:
    status = command.run(arguments, environment)
    return status, capsys.readouterr().out


def checked(capsys, token: str, *arguments: str) -> tuple[int, dict]:
    status, said = run(capsys, "check", "--json", token, *(arguments or WITH_SECRET))
    return status, json.loads(said)


def in_seconds(seconds: float) -> int:
    return int(time.time() + seconds)  # noqa: TID251  # the command's clock


def test_what_is_made_is_good(capsys):
    claims = '{"team": "red"}'
    _, token = run(
        capsys, "mint", "--role", "authenticated", "--sub", "ann", "--claims", claims,
        "--lifetime", str(HALF_AN_HOUR), *WITH_SECRET,
    )  # fmt: skip

    status, facts = checked(capsys, token.strip())

    assert status == 0
    assert HALF_AN_HOUR - 60 < facts.pop("seconds_left") <= HALF_AN_HOUR
    assert facts == {"role": "authenticated", "sub": "ann", "key": None, "checked_claims": []}


def test_the_words_for_people_name_role_key_and_time(capsys):
    _, said = run(capsys, "check", mint("anon", sub="ann"), *WITH_SECRET)

    assert said.startswith("GOOD  It speaks as anon for ann, is signed with the secret,")


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (mint(secret="x" * 32), "JwtSignatureError"),
        ("nonsense", "MalformedJWT"),
        (mint(role=""), "InvalidJWTToken"),
        (mint(expires_at=in_seconds(-30)), "InvalidJWTToken"),
        (ec_key("elsewhere").token({"role": "anon", "exp": 4e9}), "JwtSignerError"),
        (mint(iat="yesterday"), ""),
    ],
    ids=["signature", "form", "role", "expired", "key", "time"],
)
def test_what_is_not_good_is_told_with_what_to_do(capsys, token, code):
    status, facts = checked(capsys, token)

    assert (status, facts["code"]) == (1, code)
    assert facts["reason"]
    assert facts["advice"].endswith(".")
    _, said = run(capsys, "check", token, *WITH_SECRET)
    assert said == (
        f"REFUSED  {code + ': ' if code else ''}{facts['reason']}\n         -> {facts['advice']}\n"
    )


def test_the_claims_that_the_settings_want_are_checked_and_named(capsys):
    wanted = ("--jwt-claim-validators", '{"aud": "authenticated", "iss": "us"}', *WITH_SECRET)

    status, facts = checked(capsys, mint(aud="authenticated"), *wanted)
    assert (status, facts["checked_claims"]) == (0, ["aud"])

    status, facts = checked(capsys, mint(aud="anon", iss="us"), *wanted)
    assert status == 1
    assert facts["advice"] == '--jwt-claim-validators wants `aud` "authenticated".'


def test_a_key_of_the_jwks_is_named(capsys):
    key = ec_key("monday")
    jwks = json.dumps({"keys": [key.jwk()]})
    token = key.token({"role": "anon", "exp": in_seconds(60)})

    status, facts = checked(capsys, token, "--jwt-jwks", jwks)

    assert (status, facts["key"]) == (0, "monday")
    _, said = run(capsys, "check", token, "--jwt-jwks", jwks)
    assert "is signed with key monday of the JWKS" in said


def test_a_token_comes_from_the_standard_input_too(capsys, monkeypatch, tmp_path):
    path = tmp_path / "token"
    path.write_text(mint() + "\n")
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        status, _ = checked(capsys, "-")

    assert status == 0


def test_the_command_uses_the_settings_of_the_server_and_keeps_stdout_for_the_token():
    made = troupe("token", "mint", "--role", "anon")

    assert made.stderr == "troupe: signed with the development secret, which everybody knows\n"
    token = made.stdout.strip()
    assert troupe("token", "check", token, "--jwt-secret", DEVELOPMENT_SECRET).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("mint",), "--role"),
        (("mint", "--role", "anon", "--claims", "[]"), "must be a JSON object"),
        (("mint", "--role", "anon", "--claims", '{"exp": 1}'), "must not have exp"),
        (("mint", "--role", "anon", "--lifetime", "-1"), "must be a whole number of seconds"),
        (
            ("mint", "--role", "anon", "--jwt-jwks", '{"keys": []}'),
            "--jwt-secret must be given",
        ),
        (("check", "x", "--no-such-flag"), "--no-such-flag"),
        (("check", "x", "--jwt-jwks-url", "http://127.0.0.1:1/"), "--jwt-jwks-url must answer"),
        ((), "action"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, sentence):
    result = troupe("token", *arguments)

    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_who_runs_it_inside_trio_gets_the_verdict_itself():
    verdict = trio.run(command.check, mint(), command.load(WITH_SECRET, {}))

    assert verdict.is_good
