"""From the text of a condition to its parts (`condition_parts`).

Called by `conditions`; reads `condition_tokens`, and asks `condition_columns` what may be a column.

**Invariants**
- Recursion is no deeper than `MAX_DEPTH`, and each token is read once.
- A value is one literal. There is nothing that computes.
- A word that Postgres reserves is a column only in double quotes: `user` alone is a function there.

**Source**: PostgreSQL 18 documentation, 4.1.6 (precedence), 9.1, 9.2, 9.7.1 and 9.25, read 2026-11-21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from protocol.changes.condition_columns import RESERVED, is_sayable
from protocol.changes.condition_parts import Comparison, Either, Every, Negation
from protocol.changes.condition_tokens import (
    OPERATORS,
    SIGNS,
    Token,
    TokenKind,
    condition_tokens,
)
from protocol.changes.filters import Condition, Operator
from protocol.errors import ConditionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocol.changes.condition_parts import Expression

#: How deep parentheses and NOT may be nested.
MAX_DEPTH: Final = 32
#: How many comparisons one condition may have; each costs a look at every row.
MAX_COMPARISONS: Final = 100
#: As in the lists of filters.
MAX_ELEMENTS: Final = 100

_COMPARED: Final[Mapping[str, Operator]] = {
    "=": Operator.EQ,
    "<>": Operator.NEQ,
    "!=": Operator.NEQ,
    "<": Operator.LT,
    "<=": Operator.LTE,
    ">": Operator.GT,
    ">=": Operator.GTE,
}
_MIRRORED: Final[Mapping[Operator, Operator]] = {
    Operator.EQ: Operator.EQ,
    Operator.NEQ: Operator.NEQ,
    Operator.LT: Operator.GT,
    Operator.LTE: Operator.GTE,
    Operator.GT: Operator.LT,
    Operator.GTE: Operator.LTE,
}
_PATTERNS: Final[Mapping[str, Operator]] = {"like": Operator.LIKE, "ilike": Operator.ILIKE}
_TRUTH_VALUES: Final = frozenset({"null", "true", "false", "unknown"})
_NULL: Final = "null"


def parse_expression(text: str) -> Expression:
    """Return the parts of a condition.

    Raises:
        ConditionError: the text is none; its `reason` says where.
    """
    parser = _Parser(list(condition_tokens(text)))
    expression = parser.either(0)
    if parser.next.kind is not TokenKind.END:
        raise parser.expected("AND, OR or the end")
    return expression


@define
class _Parser:
    """Reads tokens from the left to the right; each method reads what it is called after."""

    _tokens: list[Token]
    _at: int = field(default=0, init=False)
    _comparisons: int = field(default=0, init=False)

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def expected(self, what: str) -> ConditionError:
        return ConditionError.at(self.next.place, f"expected {what}")

    def either(self, depth: int) -> Expression:
        parts = [self._every(depth)]
        while self._took_word("or"):
            parts.append(self._every(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _every(self, depth: int) -> Expression:
        parts = [self._negatable(depth)]
        while self._took_word("and"):
            parts.append(self._negatable(depth))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _negatable(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise ConditionError.at(self.next.place, f"nested deeper than {MAX_DEPTH}")
        if self._took_word("not"):
            return Negation(self._negatable(depth + 1))
        if self._took_symbol("("):
            inner = self.either(depth + 1)
            self._need_symbol(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Expression:
        if self._is_value():
            value = self._value()
            operator = _MIRRORED[self._compared()]
            return self._compare(Condition(self._column(), operator, value, is_negated=False))
        column = self._column()
        if self.next.kind is TokenKind.SYMBOL and self.next.text in OPERATORS:
            operator = self._compared()
            return self._compare(Condition(column, operator, self._value(), is_negated=False))
        if self._took_word("is"):
            return self._is(column)
        if self._took_word("not"):
            return Negation(self._worded(column) or self._fail("IN, LIKE, ILIKE or BETWEEN"))
        return self._worded(column) or self._truth(column)

    def _worded(self, column: str) -> Expression | None:
        """Read what comes after a column and may come after NOT; None if it is something else."""
        if self._took_word("in"):
            elements = ",".join(self._elements())
            return self._compare(Condition(column, Operator.IN, elements, is_negated=False))
        for word, operator in _PATTERNS.items():
            if self._took_word(word):
                if self.next.kind is not TokenKind.STRING:
                    raise self.expected("a string, which is the pattern")
                value = self._value()
                return self._compare(Condition(column, operator, value, is_negated=False))
        if self._took_word("between"):
            least = Condition(column, Operator.GTE, self._value(), is_negated=False)
            if not self._took_word("and"):
                raise self.expected("AND and the other bound")
            most = Condition(column, Operator.LTE, self._value(), is_negated=False)
            return Every((self._compare(least), self._compare(most)))
        return None

    def _is(self, column: str) -> Expression:
        is_negated = self._took_word("not")
        word = self._take().text if self.next.kind is TokenKind.WORD else ""
        if word in _TRUTH_VALUES:
            found = self._compare(Condition(column, Operator.IS, word, is_negated=False))
        elif word == "distinct" and self._took_word("from"):
            value = self._value()
            found = self._compare(
                Condition(column, Operator.ISDISTINCT, value, is_negated=False)
            )
        else:
            raise self.expected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM after IS")
        return Negation(found) if is_negated else found

    def _truth(self, column: str) -> Expression:
        """Read a column that is a condition by itself."""
        if self.next.kind is TokenKind.SYMBOL and self.next.text == "(":
            raise ConditionError.at(self.next.place, "functions are not taken")
        is_true = Condition(column, Operator.IS, "true", is_negated=False)
        return self._compare(is_true, evolve(is_true, value="false"))

    def _compare(self, condition: Condition, opposite: Condition | None = None) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise ConditionError.at(self.next.place, f"more than {MAX_COMPARISONS} comparisons")
        return Comparison(condition, opposite or evolve(condition, is_negated=True))

    def _compared(self) -> Operator:
        token = self.next
        if token.kind is not TokenKind.SYMBOL or token.text not in OPERATORS:
            raise self.expected("a comparison")
        return _COMPARED[self._take().text]

    def _column(self) -> str:
        token = self.next
        if token.kind is TokenKind.WORD and token.text in RESERVED:
            raise ConditionError.at(token.place, "a reserved word is a column only in quotes")
        if token.kind not in (TokenKind.WORD, TokenKind.QUOTED_NAME):
            raise self.expected("a column")
        if not is_sayable(token.text):
            raise ConditionError.at(token.place, "a column of this name cannot be filtered by")
        return self._take().text

    def _is_value(self) -> bool:
        token = self.next
        if token.kind is TokenKind.WORD:
            return token.text in ("true", "false", _NULL)
        is_sign = token.kind is TokenKind.SYMBOL and token.text in SIGNS
        return is_sign or token.kind in (TokenKind.STRING, TokenKind.NUMBER)

    def _value(self) -> str:
        """Read one literal, which is not NULL."""
        if not self._is_value():
            raise self.expected("a value: a string, a number, TRUE or FALSE")
        token = self._take()
        if token.kind is TokenKind.WORD and token.text == _NULL:
            raise ConditionError.at(token.place, "nothing equals NULL; write IS NULL")
        if token.kind is not TokenKind.SYMBOL:
            return token.text
        if self.next.kind is not TokenKind.NUMBER:
            raise self.expected("a number behind its sign")
        return self._take().text if token.text == "+" else f"-{self._take().text}"

    def _elements(self) -> list[str]:
        """Read a list in parentheses, as elements of an array in the text form of Postgres."""
        self._need_symbol("(")
        elements = [self._element()]
        while self._took_symbol(","):
            if len(elements) == MAX_ELEMENTS:
                raise ConditionError.at(self.next.place, f"more than {MAX_ELEMENTS} elements")
            elements.append(self._element())
        self._need_symbol(")")
        return elements

    def _element(self) -> str:
        return "NULL" if self._took_word(_NULL) else quoted(self._value())

    def _take(self) -> Token:
        token = self.next
        self._at += 1
        return token

    def _took_word(self, word: str) -> bool:
        return self._took(TokenKind.WORD, word)

    def _took_symbol(self, symbol: str) -> bool:
        return self._took(TokenKind.SYMBOL, symbol)

    def _took(self, kind: TokenKind, text: str) -> bool:
        if self.next.kind is not kind or self.next.text != text:
            return False
        self._at += 1
        return True

    def _need_symbol(self, symbol: str) -> None:
        if not self._took_symbol(symbol):
            raise self.expected(f"`{symbol}`")

    def _fail(self, what: str) -> Expression:
        raise self.expected(what)


def quoted(text: str) -> str:
    """Return the text in double quotes, as both filters and the text form of arrays have it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
