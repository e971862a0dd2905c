"""What conditions consist of: comparisons, and what joins or negates them.

Made by `condition_grammar` from text; `conditions` brings them into the form of filters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from protocol.changes.filters import Condition


@frozen
class Comparison:
    """What must hold of a column, and what must hold for it to be false, which is not the same as not true."""

    condition: Condition
    opposite: Condition


@frozen
class Every:
    """All parts hold."""

    parts: tuple[Expression, ...]


@frozen
class Either:
    """At least one of the parts holds."""

    parts: tuple[Expression, ...]


@frozen
class Negation:
    """The part is false."""

    part: Expression


Expression = Comparison | Every | Either | Negation
