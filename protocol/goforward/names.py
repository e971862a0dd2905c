"""What a channel of GoForward may be called.

Used by the socket's door and by the HTTP routes, so that one rule holds for both.

What `protocol.managed.room_of` calls the rooms of row changes is not for channels:
whoever created one of that name would decide who gets the row changes of another channel.

**Source**: ledger C39 (hostile names are refused); the length and the reserved names are ours.
"""

from __future__ import annotations

import re
from typing import Final

from protocol.managed import ROOM_PREFIX

#: Letters and digits of any language, and what separates them in names that occur.
_NAME: Final = re.compile(r"[\w.:@~+\-]{1,128}")
#: What no client could address: they take these out of a path.
_DOTS: Final = frozenset({".", ".."})
NAME_RULE: Final = (
    "a channel name has 1 to 128 letters, digits and characters of -_.:@~+, and nothing else;"
    f" it is neither . nor .., and does not begin with {ROOM_PREFIX}"
)


def is_channel_name(name: str) -> bool:
    """Whether a channel may have this name."""
    is_reserved = name in _DOTS or name.startswith(ROOM_PREFIX)
    return not is_reserved and _NAME.fullmatch(name) is not None
