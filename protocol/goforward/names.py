"""What a channel of GoForward may be called.

Used by the socket's door and by the HTTP routes, so that one rule holds for both.

**Source**: ledger C39 (hostile names are refused); the length is ours.
"""

from __future__ import annotations

import re
from typing import Final

#: Letters and digits of any language, and what separates them in names that occur.
_NAME: Final = re.compile(r"[\w.:@~+\-]{1,128}")
NAME_RULE: Final = (
    "a channel name has 1 to 128 letters, digits and characters of -_.:@~+, and nothing else"
)


def is_channel_name(name: str) -> bool:
    """Whether a channel may have this name."""
    return _NAME.fullmatch(name) is not None
