"""From the text of a filter to its conditions: `age=gte.18,name=not.in.(ann,"b,ob")`.

Called when a client subscribes; `predicates` says what conditions mean for a row.
Nothing is known of tables here: whether a column exists and a value fits is for Postgres to say.

**Invariants**
- All conditions must hold; there is no OR.
- Equal canonical texts mean equal filters, whatever the order of their conditions.

**Source**: spec 6.2.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import frozen

from protocol.changes.json_paths import JsonPath, read_path
from protocol.errors import InvalidFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Upstream has no bound; each condition costs a look at every row, so there is one.
MAX_CONDITIONS: Final = 100

_EMPTY_SEGMENT: Final = "filter must not contain empty segments (check for extra commas)"
_NO_PARENTHESES: Final = "`in` filter value must be wrapped by parentheses"
_TOO_MANY: Final = f"too many conditions. Maximum {MAX_CONDITIONS}"

_NOT: Final = "not."
#: What stands in front of a double quote that opens a quotation.
_BEFORE_QUOTE: Final = frozenset(".(,")


class Operator(Enum):
    """What a condition does with the column; the value is the word in the text."""

    EQ = "eq"
    NEQ = "neq"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    LIKE = "like"
    ILIKE = "ilike"
    MATCH = "match"
    IMATCH = "imatch"
    IS = "is"
    ISDISTINCT = "isdistinct"


_OPERATORS: Final = {operator.value: operator for operator in Operator}


@frozen
class Condition:
    """One condition; `value` is unquoted, for `in` it is what stands between the parentheses.

    With a `path` it is about what is there in the JSON of the column.
    """

    column: str
    operator: Operator
    value: str
    is_negated: bool
    path: JsonPath | None = None


def parse_filter(text: str, *, takes_paths: bool = False) -> tuple[Condition, ...]:
    """Return the conditions of a filter in their order; none if the text is blank.

    Unless it `takes_paths`, arrows are part of a column's name.

    Raises:
        InvalidFilter: the text follows no grammar; the reason is for the client.
    """
    if not text.strip():
        return ()
    segments = list(_segments(text))
    if len(segments) > MAX_CONDITIONS:
        raise _invalid(_TOO_MANY)
    return tuple(_condition(segment, takes_paths=takes_paths) for segment in segments)


def canonical(conditions: Iterable[Condition]) -> str:
    """Return a text that is the same for filters with the same conditions, and for no others."""
    # Equal conditions print equally and different ones differently, as strings are escaped.
    return printed_list(sorted({_printed(condition) for condition in conditions}))


def printed(conditions: Iterable[Condition]) -> str:
    """Return the conditions as the messages to clients show them: `[{"id", "eq", "1", false}]`."""
    return printed_list(_printed(condition) for condition in conditions)


def printed_list(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def printed_string(text: str) -> str:
    """Return a string as Elixir's `inspect` shows it, in double quotes."""
    return '"' + "".join(map(_printed_character, text)).replace("#{", "\\#{") + '"'


def _printed(condition: Condition) -> str:
    value = condition.value
    if condition.operator is Operator.IN:
        value = f"{{{value}}}"
    strings = map(printed_string, (condition.operator.value, value))
    negated = "true" if condition.is_negated else "false"
    return f"{{{', '.join((_printed_name(condition), *strings, negated))}}}"


def _printed_name(condition: Condition) -> str:
    """Return the left side; what is quoted apart is no column that is called like a path."""
    name, path = printed_string(condition.column), condition.path
    if path is None:
        return name
    steps = zip(path.arrows, map(printed_string, path.steps), strict=True)
    return name + "".join(arrow + step for arrow, step in steps)


_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\0": "\\0",
    "\a": "\\a",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    "\x1b": "\\e",
    "\x7f": "\\d",
}


def _printed_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\x{{{ord(character):X}}}"


def _segments(text: str) -> Iterator[str]:
    """Split at the commas that are outside of quotes and parentheses."""
    start, depth, is_quoted, is_escaped, previous = 0, 0, False, False, ""
    for place, character in enumerate(text):
        if is_quoted:
            if is_escaped or character == "\\":
                is_escaped = not is_escaped
            elif character == '"':
                is_quoted = False
        elif character == '"':
            is_quoted = previous in _BEFORE_QUOTE
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(depth - 1, 0)
        elif character == "," and depth == 0:
            yield text[start:place]
            start = place + 1
        previous = character
    yield text[start:]


def _condition(segment: str, *, takes_paths: bool) -> Condition:
    segment = segment.strip()
    if not segment:
        raise _invalid(_EMPTY_SEGMENT)
    column, equals, rest = segment.partition("=")
    if not equals:
        raise _leftover(segment)
    is_negated = rest.startswith(_NOT)
    word, dot, value = rest.removeprefix(_NOT).partition(".")
    if not dot:
        raise _leftover(word)
    operator = _OPERATORS.get(word)
    if operator is None:
        raise _leftover(word, value)
    path = None
    if takes_paths:
        column, path = read_path(column)
    read = _inside if operator is Operator.IN else _unquoted
    return Condition(column, operator, read(value), is_negated, path)


def _inside(value: str) -> str:
    """Return what stands between the parentheses."""
    if len(value) < 2 or value[0] != "(" or value[-1] != ")":
        raise _invalid(_NO_PARENTHESES)
    return value[1:-1]


def _unquoted(value: str) -> str:
    """Return what a quotation says; what is not one from its first to its last character is taken as it is."""
    if not value.startswith('"'):
        return value
    characters: list[str] = []
    is_escaped = False
    for place, character in enumerate(value[1:], start=1):
        if is_escaped or character not in '\\"':
            characters.append(character)
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        else:
            return "".join(characters) if place == len(value) - 1 else value
    return value


def _leftover(*parts: str) -> InvalidFilter:
    return _invalid(printed_list(map(printed_string, parts)))


def _invalid(what: str) -> InvalidFilter:
    return InvalidFilter(f"Error parsing `filter` params: {what}")
