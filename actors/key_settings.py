"""From the text of a setting to the keys that tokens are verified with.

Called by `settings.py` for its values; each function raises `ValueError` with the words for what would be acceptable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actors.auth.keys import KeySet, parse_key_set


def secret_from_file(path: str) -> str:
    """Return the secret that a file holds, without the end of its line."""
    secret = _read(path).removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ValueError(f"a file that is not empty ({path})")
    return secret


def key_set_from_file(path: str) -> KeySet:
    """Return the JWKS that a file holds."""
    return parse_key_set(_read(path))


def web_address(text: str) -> str:
    """Return the text if it is the URL of something on the web."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address that begins with https:// or http://")
    return text


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    raise ValueError("a JSON object")


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(f"a file that can be read ({path}: {why})") from None
