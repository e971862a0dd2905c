from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.changes.model import TypeFacts
from protocol.changes.values import encoder

INT4 = TypeFacts(23, "int4")
TEXT = TypeFacts(25, "text")
JSON = TypeFacts(114, "json")
JSONB = TypeFacts(3802, "jsonb")
BOX = TypeFacts(603, "box", delimiter=";")
HSTORE = TypeFacts(90005, "hstore")
MOOD = TypeFacts(90001, "mood", "e")
POINT = TypeFacts(90002, "pair", "c", fields=(("x", INT4), ("the label", TEXT)))


def array(element: TypeFacts) -> TypeFacts:
    return TypeFacts(90100, f"_{element.name}", element=element)


def domain(base: TypeFacts) -> TypeFacts:
    return TypeFacts(90101, "named", "d", base=base)


@pytest.mark.parametrize(
    ("facts", "text", "expected"),
    [
        (INT4, "-7", "-7"),
        (TypeFacts(20, "int8"), "9007199254740993", "9007199254740993"),
        (TypeFacts(1700, "numeric"), "1.10", "1.10"),
        (TypeFacts(701, "float8"), "1e+20", "1e+20"),
        (TypeFacts(701, "float8"), "-1.5e-07", "-1.5e-07"),
        (TypeFacts(701, "float8"), "NaN", "null"),
        (TypeFacts(700, "float4"), "Infinity", "null"),
        (TypeFacts(1700, "numeric"), "-Infinity", "null"),
        (TypeFacts(26, "oid"), "16384", '"16384"'),
        (TypeFacts(16, "bool"), "t", "true"),
        (TypeFacts(16, "bool"), "f", "false"),
        (TEXT, 'say "hé"\n', '"say \\"hé\\"\\n"'),
        (TypeFacts(1042, "bpchar"), "abc  ", '"abc  "'),
        (MOOD, "ok", '"ok"'),
        (TypeFacts(1082, "date"), "2026-01-02", '"2026-01-02"'),
        (TypeFacts(1083, "time"), "03:04:05.1", '"03:04:05.1"'),
        (TypeFacts(1266, "timetz"), "03:04:05+02", '"03:04:05+02"'),
        (TypeFacts(1114, "timestamp"), "2026-01-02 03:04:05.1", '"2026-01-02T03:04:05.1"'),
        (TypeFacts(1114, "timestamp"), "infinity", '"infinity"'),
        (TypeFacts(1114, "timestamp"), "0044-03-15 00:00:00 BC", '"0044-03-15T00:00:00 BC"'),
        (
            TypeFacts(1184, "timestamptz"),
            "2026-01-02 01:04:05+00",
            '"2026-01-02T01:04:05+00:00"',
        ),
        (
            TypeFacts(1184, "timestamptz"),
            "2026-01-02 01:04:05+05:30",
            '"2026-01-02T01:04:05+05:30"',
        ),
        (
            TypeFacts(1184, "timestamptz"),
            "0044-03-15 00:00:00+00 BC",
            '"0044-03-15T00:00:00+00:00 BC"',
        ),
        (TypeFacts(1184, "timestamptz"), "-infinity", '"-infinity"'),
        (JSONB, '{"a": [1, null]}', '{"a": [1, null]}'),
        (JSON, '"\\ud800"', '"\\ud800"'),
        (TypeFacts(17, "bytea"), "\\x0102ff", '"0102ff"'),
        (domain(INT4), "7", "7"),
        (domain(array(INT4)), "{7}", "[7]"),
        (TypeFacts(99999, "unheard_of"), "5", '"5"'),
    ],
)
def test_text_becomes_the_json_of_its_type(facts, text, expected):
    assert encoder(facts)(text).decode() == expected


@pytest.mark.parametrize(
    ("element", "text", "expected"),
    [
        (INT4, "{}", "[]"),
        (INT4, "{1,NULL,-3}", "[1,null,-3]"),
        (INT4, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (INT4, "[0:1][-1:0]={{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (TEXT, '{a,"b c","",NULL,"NULL"}', '["a","b c","",null,"NULL"]'),
        (
            TEXT,
            r'{"say \"hi\"","back\\slash","{1,2}"}',
            r'["say \"hi\"","back\\slash","{1,2}"]',
        ),
        (TEXT, '{"two\nlines"}', r'["two\nlines"]'),
        (JSONB, r'{"{\"a\": 1}",NULL}', '[{"a": 1},null]'),
        (BOX, "{(1,1),(0,0);(2,2),(1,1)}", '["(1,1),(0,0)","(2,2),(1,1)"]'),
        (
            POINT,
            r'{"(1,\"a b\")","(,)"}',
            '[{"x":1,"the label":"a b"},{"x":null,"the label":null}]',
        ),
    ],
)
def test_arrays_become_json_arrays_of_the_same_depth(element, text, expected):
    assert encoder(array(element))(text).decode() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1,a)", '{"x":1,"the label":"a"}'),
        ("(,)", '{"x":null,"the label":null}'),
        ('(1,"")', '{"x":1,"the label":""}'),
        ('(1,"a,b)")', '{"x":1,"the label":"a,b)"}'),
        (r'(1,"say ""hi"" \\ there")', r'{"x":1,"the label":"say \"hi\" \\ there"}'),
    ],
)
def test_composites_become_objects(text, expected):
    assert encoder(POINT)(text).decode() == expected


def test_arrays_and_composites_nest():
    nested = TypeFacts(90004, "deep", "c", fields=(("tags", array(TEXT)), ("at", POINT)))

    assert json.loads(encoder(nested)(r'("{a,""b c""}","(2,""x y"")")')) == {
        "tags": ["a", "b c"],
        "at": {"x": 2, "the label": "x y"},
    }


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (INT4, "seven"),
        (INT4, "007"),
        (INT4, ""),
        (TypeFacts(16, "bool"), "maybe"),
        (JSONB, "{"),
        (array(INT4), "{1,2"),
        (array(INT4), "1,2"),
        (array(INT4), "{1}{2}"),
        (array(TEXT), '{"a}'),
        (array(TEXT), "{" * 5000),
        (POINT, "(1)"),
        (POINT, "(1,a,b)"),
        (POINT, "1,a"),
        (POINT, '(1,"a)'),
    ],
)
def test_what_does_not_look_like_its_type_becomes_a_string(facts, text):
    assert json.loads(encoder(facts)(text)) == text


FACTS = st.sampled_from(
    [TypeFacts(oid, "") for oid in (16, 17, 20, 25, 114, 701, 1114, 1184, 1700, 3802)]
    + [array(TEXT), array(JSONB), array(array(INT4)), array(POINT), POINT, BOX]
)
LIKELY = st.text(alphabet='{}[]()",;\\:= 019.eE+-atfnulTNL\n', max_size=30)


@given(FACTS, st.text() | LIKELY)
def test_whatever_the_text_the_result_is_json(facts, text):
    json.loads(encoder(facts)(text))


def quoted_array(values: list[str | None]) -> str:
    """Write an array as Postgres might, every element in quotes."""
    escaped = (
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in values
    )
    return "{" + ",".join(escaped) + "}"


@given(st.lists(st.none() | st.text()))
def test_text_arrays_survive_whatever_they_hold(values):
    assert json.loads(encoder(array(TEXT))(quoted_array(values))) == values


@given(st.integers(), st.text())
def test_composites_survive_whatever_they_hold(number, text):
    written = text.replace("\\", "\\\\").replace('"', '""')

    assert json.loads(encoder(POINT)(f'({number},"{written}")')) == {
        "x": number,
        "the label": text,
    }
