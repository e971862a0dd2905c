"""What a setting may be: the fields of the table in `settings.py`, and how their texts are read.

What reads a text raises `ValueError` with what it may be.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import attrs

from actors.db.slots import MAX_SUFFIX_BYTES, SlotOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def boolean(text: str) -> bool:
    """Return the truth that a word means."""
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("true or false")


def one_of(*choices: str) -> Callable[[str], str]:
    """Return what takes one of these words and no other."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return parse


def number(
    kind: type[int | float], least: float, most: float = math.inf
) -> Callable[[str], float]:
    """Return what takes a number between these two, both included."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError("a number") from None
        if not value >= least:
            raise ValueError(f"a number of at least {least:g}")
        if not value <= most:
            raise ValueError(f"a number of at most {most:g}")
        return value

    return parse


#: Units of durations, in seconds.
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def duration(unit: str, least: float) -> Callable[[str], float]:
    """Return what takes a number of these units, or a duration in Go's notation (`90s`, `1h30m`, `100ms`).

    **Source**: ledger GF-107; Go's time.ParseDuration.
    """

    def parse(text: str) -> float:
        parts = _PART.findall(text)
        if parts and "".join(number + name for number, name in parts) == text:
            value = sum(float(number) * UNITS[name] for number, name in parts) / UNITS[unit]
        else:
            try:
                value = float(text)
            except ValueError:
                raise ValueError("a number, or a duration such as 1h30m") from None
        if not least <= value < math.inf:
            raise ValueError(f"a number of at least {least:g}, or a duration as long ({unit})")
        return value

    return parse


def seconds(least: float) -> Callable[[str], float]:
    """Return what takes so many seconds; see `duration`."""
    return duration("s", least)


def milliseconds(least: int) -> Callable[[str], int]:
    """Return what takes a whole number of milliseconds; see `duration`."""
    parse = duration("ms", least)
    return lambda text: round(parse(text))


def roles(text: str) -> frozenset[str]:
    """Return the roles in a list with commas."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def only_true(text: str) -> bool:
    """Take a truth that cannot be otherwise: what says false is refused loudly."""
    if boolean(text):
        return True
    raise ValueError("true: there is no way to switch this off")


def slot_suffix(text: str) -> str:
    """Return the text if it may end the name of a slot."""
    try:
        return SlotOptions(suffix=text).suffix
    except ValueError:
        raise ValueError(f"up to {MAX_SUFFIX_BYTES} of the characters a-z, 0-9 and _") from None


def text_of(least: int) -> Callable[[str], str]:
    """Return what takes a text of so many characters or more."""

    def parse(text: str) -> str:
        if len(text) < least:
            raise ValueError(f"a text of at least {least} characters")
        return text

    return parse


def setting(
    default: Any,
    parse: Callable[[str], Any],
    text: str,
    *,
    is_secret: bool = False,
    aliases: Sequence[str] = (),
) -> Any:
    """Return a field of the table; `text` is what people read of it, secrets do not show in what is printed.

    `aliases` are names that other documents have for it, as variables, in place of the field's own.
    """
    metadata = {"parse": parse, "help": text, "aliases": tuple(aliases)}
    return attrs.field(default=default, metadata=metadata, repr=not is_secret)


def quota(text: str) -> Any:
    """Return the field of a quota, whose default is up to another setting."""
    return setting(None, number(int, 0), text + "; 0: any number (default: as --limits says)")
