"""Routes that take any path: names of topics and events may have line breaks in them.

Starlette's `{…:path}` is the expression `.*`, which ends at one; a request for it would not be found.
"""

from __future__ import annotations

import re
from typing import TypeVar

from starlette.routing import Mount, Route

R = TypeVar("R", Route, Mount)


def any_path(route: R) -> R:
    """Return the route, which from now on takes line breaks where it takes slashes."""
    route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)
    return route
