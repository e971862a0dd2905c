"""Makes the reference pages whose truth is a table in the code; `make reference` writes them.

A test compares them with what is committed, so they cannot drift.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from actors.settings import Settings, flag, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

SETTINGS_HEAD = """\
# Settings

<!-- Made from actors/settings.py by `make reference`; do not edit. -->

Every setting is a flag of `python -m actors.main` and a variable.
The flag wins over the variable, and the variable over the default.
Names that end in `_s` are in seconds, those that end in `_bytes` in bytes.

| flag | variable | default | meaning |
| --- | --- | --- | --- |
"""


def settings_page() -> str:
    rows = (
        f"| `{flag(field)}` | `{variable(field)}` | {_default(field.default)} | {field.metadata['help']} |\n"
        for field in attrs.fields(Settings)
    )
    return SETTINGS_HEAD + "".join(rows)


def _default(value: object) -> str:
    if value is None:
        return "none"
    return "off" if value is False else f"`{value}`"


def pages() -> Mapping[Path, str]:
    """Return each page's place and text."""
    return {FOLDER / "settings.md": settings_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
