"""The JSON of a row goes back to the text forms, and is rendered as the same JSON again."""

from __future__ import annotations

import msgspec
import pytest

from protocol.changes.json_texts import text_reader
from protocol.changes.model import TypeFacts
from protocol.changes.values import encoder

INT4 = TypeFacts(23, "int4")
TEXT = TypeFacts(25, "text")
BOX = TypeFacts(603, "box", delimiter=";")
JSONB = TypeFacts(3802, "jsonb")
PAIR = TypeFacts(50000, "pair", "c", fields=(("label", TEXT), ("n", INT4)))


def array_of(element: TypeFacts) -> TypeFacts:
    return TypeFacts(60000, "an_array", element=element)


CASES = [
    (INT4, "7", "7"),
    (TypeFacts(701, "float8"), "1e+300", "1e+300"),
    (TypeFacts(701, "float8"), '"NaN"', "NaN"),
    (TypeFacts(16, "bool"), "true", "t"),
    (TypeFacts(16, "bool"), "false", "f"),
    (TEXT, '"it\'s \\"quoted\\" \\u00e9"', 'it\'s "quoted" é'),
    (TEXT, '""', ""),
    (TEXT, "null", None),
    (TypeFacts(17, "bytea"), '"\\\\x0102"', "\\x0102"),
    (TypeFacts(114, "json"), '{"b": 1,   "a": "x"}', '{"b": 1,   "a": "x"}'),
    (JSONB, '"x"', '"x"'),
    (TypeFacts(1114, "timestamp"), '"2026-01-02T03:04:05.1"', "2026-01-02 03:04:05.1"),
    (TypeFacts(1114, "timestamp"), '"-infinity"', "-infinity"),
    (TypeFacts(1184, "timestamptz"), '"2026-01-02T03:04:05+00:00"', "2026-01-02 03:04:05+00"),
    (
        TypeFacts(1184, "timestamptz"),
        '"0044-03-15T01:02:03+00:00 BC"',
        "0044-03-15 01:02:03+00 BC",
    ),
    (
        TypeFacts(1184, "timestamptz"),
        '"2026-01-02T03:04:05+05:30"',
        "2026-01-02 03:04:05+05:30",
    ),
    (TypeFacts(22, "int2vector"), "[1,-2,3]", "1 -2 3"),
    (TypeFacts(30, "oidvector"), '["1","4294967295"]', "1 4294967295"),
    (TypeFacts(70000, "hstore"), '{"a": "1", "b": null}', '"a"=>"1", "b"=>NULL'),
    (TypeFacts(70001, "age", "d", base=INT4), "42", "42"),
    (array_of(INT4), "[1,null,3]", "{1,NULL,3}"),
    (array_of(INT4), "[[1,2],[3,4]]", "{{1,2},{3,4}}"),
    (array_of(INT4), "[]", "{}"),
    (
        array_of(TEXT),
        '["a","b c","","NULL",null,"q\\"x\\\\y","{,}"]',
        '{a,"b c","","NULL",NULL,"q\\"x\\\\y","{,}"}',
    ),
    (array_of(BOX), '["(1,1),(0,0)","(3,3),(2,2)"]', "{(1,1),(0,0);(3,3),(2,2)}"),
    (array_of(JSONB), '[{"a": [1]},[2],null]', '{"{\\"a\\": [1]}",[2],NULL}'),
    (array_of(TypeFacts(16, "bool")), "[true,false]", "{t,f}"),
    (array_of(TypeFacts(22, "int2vector")), "[[1,2],null]", '{"1 2",NULL}'),
    (array_of(TypeFacts(30, "oidvector")), "[[null,null]]", "{{NULL,NULL}}"),
    (array_of(TypeFacts(22, "int2vector")), "[[[1,2],null]]", '{{"1 2",NULL}}'),
    (PAIR, '{"label":"a b","n":null}', '("a b",)'),
    (PAIR, '{"label":"","n":1}', '("",1)'),
    (array_of(PAIR), '[{"label":"a","n":1}]', '{"(a,1)"}'),
]


@pytest.mark.parametrize(("facts", "value", "text"), CASES)
def test_json_goes_back_to_the_text_form(facts, value, text):
    assert text_reader(facts)(msgspec.Raw(value.encode())) == text


@pytest.mark.parametrize(("facts", "value", "text"), CASES)
def test_the_text_is_rendered_as_the_same_json(facts, value, text):
    if text is None or facts.name in {"bytea", "float8"}:
        # These are written in another way in a column of their own.
        return
    rendered = encoder(facts)(text)

    assert msgspec.json.decode(rendered) == msgspec.json.decode(value)


@pytest.mark.parametrize("value", ["7", '"text"', "[1]", '{"a":1}', "true", "[[]]", "1e999"])
@pytest.mark.parametrize(
    "facts", [facts for facts, _, _ in CASES], ids=lambda facts: facts.name
)
def test_whatever_the_json_there_is_a_text_that_can_be_rendered(facts, value):
    text = text_reader(facts)(msgspec.Raw(value.encode()))

    assert text is not None
    msgspec.json.decode(encoder(facts)(text), type=msgspec.Raw)


@pytest.mark.parametrize("value", ['"\\ud800"', '"\\ud800\\ud800"'])
def test_half_a_surrogate_pair_is_no_text(value):
    with pytest.raises(msgspec.DecodeError):
        text_reader(TEXT)(msgspec.Raw(value.encode()))
