from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.changes.filters import (
    MAX_CONDITIONS,
    Condition,
    Operator,
    canonical,
    parse_filter,
    printed,
)
from protocol.changes.json_paths import JsonPath
from protocol.errors import InvalidFilter

EQ, NEQ, IN, IS = Operator.EQ, Operator.NEQ, Operator.IN, Operator.IS
EMPTY_SEGMENT = "filter must not contain empty segments (check for extra commas)"
NO_PARENTHESES = "`in` filter value must be wrapped by parentheses"

conditions = st.builds(
    Condition,
    st.sampled_from(["id", "the name", "größe", "a.b"]),
    st.sampled_from([operator for operator in Operator if operator is not IN]),
    st.text(),
    st.booleans(),
)


def condition(column, operator, value, *, negated=False):
    return Condition(column, operator, value, negated)


def reason(text):
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(text)
    return caught.value.reason.removeprefix("Error parsing `filter` params: ")


@pytest.mark.parametrize("operator", Operator)
@pytest.mark.parametrize("negated", [False, True])
def test_every_operator_is_read_with_and_without_not(operator, negated):
    value = "(null)" if operator is IN else "null"

    assert parse_filter(f"c={'not.' if negated else ''}{operator.value}.{value}") == (
        condition("c", operator, "null", negated=negated),
    )


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_a_blank_filter_has_no_conditions(text):
    assert parse_filter(text) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id=eq.1", [condition("id", EQ, "1")]),
        ("id=eq.", [condition("id", EQ, "")]),
        ("=eq.1", [condition("", EQ, "1")]),
        (" id=eq.1 ", [condition("id", EQ, "1")]),
        ("a=eq.1,b=neq.2", [condition("a", EQ, "1"), condition("b", NEQ, "2")]),
        ("a=eq.1 , b=neq.2", [condition("a", EQ, "1"), condition("b", NEQ, "2")]),
        ("a=eq.x=y", [condition("a", EQ, "x=y")]),
        ("a=eq.1.5", [condition("a", EQ, "1.5")]),
        ("the name=eq. a  b", [condition("the name", EQ, " a  b")]),
        ("a=not.is.null", [condition("a", IS, "null", negated=True)]),
        ("a=eq.not.b", [condition("a", EQ, "not.b")]),
    ],
)
def test_columns_operators_and_values_are_told_apart(text, expected):
    assert parse_filter(text) == tuple(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"a,b"', "a,b"),
        ('"a b "', "a b "),
        ('""', ""),
        (r'"a\"b"', 'a"b'),
        (r'"a\\b"', "a\\b"),
        (r'"a\,b"', "a,b"),
        (r'"a\nb"', "anb"),
        ('"(a"', "(a"),
        ('"a)"', "a)"),
        # What is no quotation from one end to the other stays as it is.
        ('"abc', '"abc'),
        ('"ab"cd', '"ab"cd'),
        ('5" tall', '5" tall'),
        ('abc"', 'abc"'),
        ('a"b"c', 'a"b"c'),
        (r'"abc\"', r'"abc\"'),
        ('"', '"'),
        (r"a\,", "a\\"),
        ("(a,b)", "(a,b)"),
        ("((a,b),c)", "((a,b),c)"),
    ],
)
def test_values_are_unquoted_only_if_they_are_quotations(value, expected):
    parsed = parse_filter(f"a=eq.{value}" if value != r"a\," else r"a=eq.a\,b=eq.1")

    assert parsed[0].value == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("()", ""),
        ("(1)", "1"),
        ("(1,2,3)", "1,2,3"),
        ("( 1 , 2 )", " 1 , 2 "),
        ('("a,b",c)', '"a,b",c'),
        ('("a)b","c(d")', '"a)b","c(d"'),
        (r'("a\"b,c")', r'"a\"b,c"'),
        ('(a"b,c)', 'a"b,c'),
        ("({1,2},{3})", "{1,2},{3}"),
        ("((a,b))", "(a,b)"),
    ],
)
def test_lists_keep_what_is_between_the_parentheses(value, expected):
    assert parse_filter(f"a=in.{value},b=eq.1") == (
        condition("a", IN, expected),
        condition("b", EQ, "1"),
    )


def test_a_closing_parenthesis_too_many_does_not_hide_the_next_comma():
    assert parse_filter("a=eq.x),b=eq.1") == (condition("a", EQ, "x)"), condition("b", EQ, "1"))


def test_an_opening_parenthesis_too_many_hides_what_follows():
    assert parse_filter("a=eq.(x,b=eq.1") == (condition("a", EQ, "(x,b=eq.1"),)


def test_a_quote_counts_only_after_a_point_a_comma_or_an_opening_parenthesis():
    assert parse_filter('a=eq.x"y,b=eq."1,2"') == (
        condition("a", EQ, 'x"y'),
        condition("b", EQ, "1,2"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("undefined", '["undefined"]'),
        ("a=foo.hey", '["foo", "hey"]'),
        ("a=eq", '["eq"]'),
        ("a=", '[""]'),
        ("a=not.eq", '["eq"]'),
        ("a=not.foo.hey", '["foo", "hey"]'),
        ("a=not.not.eq.1", '["not", "eq.1"]'),
        ("a=EQ.1", '["EQ", "1"]'),
        ("a= eq.1", '[" eq", "1"]'),
        ('say "a"\\\n#{1}', '["say \\"a\\"\\\\\\n\\#{1}"]'),
        ("\x00\x1b\u200b", '["\\0\\e\\x{200B}"]'),
        (",", EMPTY_SEGMENT),
        ("a=eq.1,", EMPTY_SEGMENT),
        (",a=eq.1", EMPTY_SEGMENT),
        ("a=eq.1,,b=eq.2", EMPTY_SEGMENT),
        ("a=eq.1, ,b=eq.2", EMPTY_SEGMENT),
        ("a=in.1", NO_PARENTHESES),
        ("a=in.", NO_PARENTHESES),
        ("a=in.(", NO_PARENTHESES),
        ("a=in.(1", NO_PARENTHESES),
        ("a=in.1)", NO_PARENTHESES),
        ('a=in."(1)"', NO_PARENTHESES),
        ("a=in.(1) b", NO_PARENTHESES),
    ],
)
def test_faults_have_the_words_of_upstream(text, expected):
    assert reason(text) == expected


def test_too_many_conditions_are_refused():
    most = ",".join(f"c{number}=eq.1" for number in range(MAX_CONDITIONS))

    assert len(parse_filter(most)) == MAX_CONDITIONS
    assert reason(f"{most},a=eq.1") == "too many conditions. Maximum 100"


def quoted(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def text_of(one):
    negation = "not." if one.is_negated else ""
    return f"{one.column}={negation}{one.operator.value}.{quoted(one.value)}"


@given(st.lists(conditions, min_size=1, max_size=5))
def test_what_is_quoted_is_read_back(some):
    assert parse_filter(",".join(map(text_of, some))) == tuple(some)


@given(st.text(alphabet='a=.,()"\\ not.eqin'))
def test_any_text_is_read_or_refused(text):
    with suppress(InvalidFilter):
        parse_filter(text)


@given(st.lists(conditions), st.lists(conditions))
def test_canonical_texts_are_equal_for_equal_filters_only(some, others):
    assert canonical(some) == canonical(reversed([*some, *some]))
    assert (canonical(some) == canonical(others)) == (set(some) == set(others))


def test_conditions_are_printed_as_messages_show_them():
    some = parse_filter('notacolumn=eq.123,a=not.in.(1,"b")')

    assert (
        printed(some)
        == '[{"notacolumn", "eq", "123", false}, {"a", "in", "{1,\\"b\\"}", true}]'
    )
    assert printed(()) == "[]"


class TestPaths:
    @pytest.mark.parametrize(
        ("text", "column", "path"),
        [
            ("data->a=eq.1", "data", JsonPath(("a",), is_text=False)),
            ("data->>a=eq.1", "data", JsonPath(("a",), is_text=True)),
            ("data->a->0->>b c=eq.1", "data", JsonPath(("a", "0", "b c"), is_text=True)),
            ("data->-1=eq.1", "data", JsonPath(("-1",), is_text=False)),
            ("data->>>a=eq.1", "data", JsonPath((">a",), is_text=True)),
            ("->>a=eq.1", "", JsonPath(("a",), is_text=True)),
            ("data>-a=eq.1", "data>-a", None),
            ("data=eq.a->b", "data", None),
        ],
    )
    def test_arrows_lead_from_the_column_to_the_value(self, text, column, path):
        (condition,) = parse_filter(text, takes_paths=True)

        assert (condition.column, condition.path) == (column, path)

    @pytest.mark.parametrize(
        "name", ["data->", "data->>", "data->a->", "data->>a->b", "data" + "->a" * 33]
    )
    def test_what_leads_nowhere_is_refused(self, name):
        with pytest.raises(InvalidFilter):
            parse_filter(f"{name}=eq.1", takes_paths=True)

    def test_unless_they_are_asked_for_arrows_are_part_of_a_name(self):
        (condition,) = parse_filter("data->>a=eq.1")

        assert (condition.column, condition.path) == ("data->>a", None)

    def test_a_path_and_a_column_of_that_name_are_told_apart(self):
        texts = ["d->a=eq.1", "d->>a=eq.1", 'd->a"->"b=eq.1', "d->a->b=eq.1", "d=eq.1"]
        found = [parse_filter(text, takes_paths=takes) for text in texts for takes in (1, 0)]

        assert len({canonical(conditions) for conditions in found}) == 2 * len(texts) - 1
