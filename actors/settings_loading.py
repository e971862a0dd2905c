"""From flags and `REALTIME_*` variables to `Settings`.

A flag wins over its variable, and a variable over the default.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import attrs

from actors.settings import DEVELOPMENT_SECRET, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "REALTIME_"
#: HS256 keys shorter than its hash can be guessed (RFC 7518, 3.2).
SECRET_BYTES = 32
#: Of each of these settings one at the most may be given.
CONTRADICTIONS = (
    ("no_database", "database_url"),
    ("jwt_secret", "jwt_secret_file"),
    ("jwt_jwks", "jwt_jwks_file", "jwt_jwks_url"),
)


class InvalidSetting(Exception):
    """A setting cannot be used; the text names it and says what it may be."""


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings from the command line and the environment.

    Raises:
        InvalidSetting: a value cannot be used, or two contradict each other.
        SystemExit: from argparse, for `--help` and for unknown flags.
    """
    flags = vars(parser().parse_args(arguments))
    values: dict[str, Any] = {}
    for field in attrs.fields(Settings):
        text = flags[field.name]
        source = flag(field)
        if text is None:
            text, source = _from_environment(field, environment)
        if text is None:
            continue
        try:
            values[field.name] = field.metadata["parse"](text)
        except ValueError as error:
            raise InvalidSetting(f"{source} must be {error}") from None
    settings = Settings(**values)
    _check(settings)
    return settings


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar, made from the table."""
    result = argparse.ArgumentParser(
        prog="python -m actors.main",
        description="Troupe, a realtime server for Supabase clients.",
        epilog="Every flag can be given as a variable instead, e.g. --log-level as REALTIME_LOG_LEVEL.",
    )
    for field in attrs.fields(Settings):
        is_switch = field.default is False
        shown = "" if field.default in (None, False, "") else f" (default: {field.default})"
        result.add_argument(
            flag(field),
            dest=field.name,
            help=field.metadata["help"] + shown,
            metavar=None if is_switch else "X",
            nargs="?" if is_switch else None,
            const="true" if is_switch else None,
        )
    return result


def flag(field: attrs.Attribute[Any]) -> str:
    """Return the name of a setting on the command line."""
    return "--" + field.name.replace("_", "-")


def variable(field: attrs.Attribute[Any]) -> str:
    """Return the name of a setting in the environment."""
    return PREFIX + field.name.upper()


def aliases(field: attrs.Attribute[Any]) -> tuple[str, ...]:
    """Return the further names of a setting in the environment."""
    return tuple(PREFIX + name for name in field.metadata["aliases"])


def _from_environment(
    field: attrs.Attribute[Any], environment: Mapping[str, str]
) -> tuple[str | None, str]:
    """Return what is said about a setting, and under which name.

    Raises:
        InvalidSetting: two names of it say different things.
    """
    # An empty variable is one that was not filled in.
    names = (variable(field), *aliases(field))
    given = {name: environment[name] for name in names if environment.get(name)}
    if len(set(given.values())) > 1:
        raise InvalidSetting(" and ".join(given) + " contradict each other")
    name = next(iter(given), names[0])
    return given.get(name), name


def _check(settings: Settings) -> None:
    for names in CONTRADICTIONS:
        given = [
            "--" + name.replace("_", "-")
            for name in names
            if getattr(settings, name) not in (None, False)
        ]
        if len(given) > 1:
            raise InvalidSetting(" and ".join(given) + " contradict each other")
    if settings.env == "production":
        _check_secret(settings)


def _check_secret(settings: Settings) -> None:
    secret = settings.signing_secret
    if secret is None:
        return
    if secret == DEVELOPMENT_SECRET:
        # Source: spec 9, upstream's words for a tenant with neither.
        raise InvalidSetting(
            "either --jwt-secret or --jwt-jwks must be provided in production: "
            "the development keys are public"
        )
    if len(secret.encode()) < SECRET_BYTES:
        raise InvalidSetting(f"--jwt-secret must have at least {SECRET_BYTES} bytes")
