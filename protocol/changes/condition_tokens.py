"""Cuts the text of a condition into tokens, as Postgres would; what a condition has no use for is refused here.

Called by `condition_grammar`.

**Invariants**
- Each character is looked at a bounded number of times.
- What Postgres reads otherwise (comments, prefixed strings, parameters) becomes no token: it is refused.

**Source**: PostgreSQL 18 documentation, 4.1 (lexical structure), read 2026-11-21.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import frozen

from protocol.errors import ConditionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class TokenKind(Enum):
    """What a token is; the value is how it is called in messages."""

    WORD = "a word"
    QUOTED_NAME = "a quoted name"
    STRING = "a string"
    NUMBER = "a number"
    SYMBOL = "a symbol"
    END = "the end"


@frozen
class Token:
    """`text` is what it means: a word in lower case, a name or string without its quotes; `place` counts from 0."""

    kind: TokenKind
    text: str
    place: int


#: Postgres takes every character beyond ASCII for a letter.
_LETTER: Final = r"A-Za-z_\x80-\U0010ffff"
_tokens = re.compile(
    rf"""
    (?P<space>    [ \t\n\r\f]+ )
  | (?P<word>     [{_LETTER}][{_LETTER}0-9$]* )
  | "(?P<name>    (?:[^"]|"")* )"
  | '(?P<string>  (?:[^']|'')* )'
  | (?P<number>   (?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)? ) (?P<junk> [{_LETTER}0-9$.]? )
  | (?P<operator> [-+*/<>=~!@#%^&|`?]+ )
  | (?P<bracket>  [(),] )
    """,
    re.VERBOSE,
)
#: Postgres folds ASCII letters only, where a database is in UTF-8.
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
#: An operator of several characters ends in a sign only if one of these is in it.
_BEFORE_SIGN: Final = frozenset("~!@#%^&|`?")
OPERATORS: Final = frozenset({"=", "<>", "!=", "<", "<=", ">", ">="})
SIGNS: Final = frozenset({"+", "-"})
#: No operator of Postgres is longer; without a bound a long run would be looked through once for each of its signs.
LONGEST_RUN: Final = 63
_REFUSED: Final[Mapping[str, str]] = {
    ";": "a condition is one expression, without a semicolon",
    "$": "parameters and dollar quotes are not taken",
    ".": "a column is named without its table",
    ":": "casts are not taken",
    "[": "subscripts are not taken",
    '"': "this quoted name does not end",
    "'": "this string does not end",
}


def condition_tokens(text: str) -> Iterator[Token]:
    """Yield the tokens and one for the end.

    Raises:
        ConditionError: at what is no token of a condition.
    """
    at = 0
    while at < len(text):
        match = _tokens.match(text, at)
        if match is None:
            raise ConditionError.at(at, _REFUSED.get(text[at], "this character has no meaning"))
        if match.lastgroup == "operator":
            operator = _operator(match["operator"], at)
            yield Token(TokenKind.SYMBOL, operator, at)
            at += len(operator)
            continue
        if (token := _token(match)) is not None:
            yield token
        at = match.end()
    yield Token(TokenKind.END, "", len(text))


def _token(match: re.Match[str]) -> Token | None:
    place = match.start()
    match match.lastgroup:
        case "word":
            return Token(TokenKind.WORD, match["word"].translate(_LOWER), place)
        case "name":
            return Token(TokenKind.QUOTED_NAME, match["name"].replace('""', '"'), place)
        case "string":
            return Token(TokenKind.STRING, match["string"].replace("''", "'"), place)
        case "junk":
            if match["junk"]:
                raise ConditionError.at(place, "this number is followed by what is none")
            return Token(TokenKind.NUMBER, match["number"], place)
        case "bracket":
            return Token(TokenKind.SYMBOL, match["bracket"], place)
        case _:
            return None


def _operator(run: str, place: int) -> str:
    """Return the operator at the start of a run of its characters, as Postgres cuts it."""
    if len(run) > LONGEST_RUN:
        raise ConditionError.at(place, "this operator is too long")
    if "--" in run or "/*" in run:
        raise ConditionError.at(place, "comments are not taken")
    while len(run) > 1 and run[-1] in SIGNS and not _BEFORE_SIGN.intersection(run):
        run = run[:-1]
    if run not in OPERATORS and run not in SIGNS:
        raise ConditionError.at(place, "this operator is not taken")
    return run
