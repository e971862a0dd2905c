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
        (TypeFacts(22, "int2vector"), "1 -2", "[1,-2]"),
        (TypeFacts(22, "int2vector"), "", "[]"),
        (TypeFacts(30, "oidvector"), "1 2", '["1","2"]'),
        (HSTORE, "", "{}"),
        (HSTORE, r'"bb"=>"1", "a"=>NULL, "a\"\\"=>""', r'{"a":null,"bb":"1","a\"\\":""}'),
        (domain(TypeFacts(701, "float8")), "NaN", "null"),
        (domain(TypeFacts(17, "bytea")), "\\x01", '"01"'),
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
        ('{"b": 1, "a": {"dd": 2, "c": 3}}', '{"a":{"c":3,"dd":2},"b":1}'),
        ('{"a": 1, "bb": 2, "é": 3, "a": 4}', '{"a":4,"bb":2,"é":3}'),
        (
            "[1e5, 1.50, -0, 1E400, 123456789012345678901234567890]",
            "[1e5,1.50,-0,1E400,123456789012345678901234567890]",
        ),
        (' [ 1 ,\t"a b"\n] ', '[1,"a b"]'),
        (r'"\u00e9\u0000\ud83d\ude42"', r'"é\u0000🙂"'),
        (r'{"b":"\udfff","a":1}', r'{"b":"\udfff","a":1}'),
        (r'{"\ud800":1,"\ud801":2}', r'{"\ud800":1,"\ud801":2}'),
    ],
)
def test_json_has_the_order_of_jsonb_and_keeps_its_numbers(text, expected):
    assert encoder(JSON)(text).decode() == expected


def test_inside_of_others_values_are_as_to_jsonb_has_them():
    facts = TypeFacts(
        90006,
        "measured",
        "c",
        fields=(("value", TypeFacts(701, "float8")), ("bytes", TypeFacts(17, "bytea"))),
    )

    assert encoder(array(TypeFacts(701, "float8")))("{NaN,1}") == b'["NaN",1]'
    assert encoder(facts)(r'(Infinity,"\\x01")') == rb'{"bytes":"\\x01","value":"Infinity"}'


def test_members_of_composites_have_the_order_of_jsonb():
    facts = TypeFacts(90007, "two", "c", fields=(("long", INT4), ("b", TEXT), ("a", TEXT)))

    assert encoder(facts)("(1,x,y)") == b'{"a":"y","b":"x","long":1}'


def test_a_composite_may_have_no_members():
    empty = TypeFacts(90008, "empty", "c")

    assert encoder(empty)("()") == b"{}"
    assert encoder(empty)("(1)") == b'"(1)"'


def test_the_delimiter_is_that_of_the_element():
    areas = array(TypeFacts(90009, "area", "d", base=BOX, delimiter=";"))

    assert encoder(areas)("{(1,1),(0,0);NULL}") == b'["(1,1),(0,0)",null]'


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
        (JSON, "NaN"),
        (JSON, "[1,]"),
        (JSON, "[" * 100_000 + "]" * 100_000),
        (HSTORE, '"a"=>'),
        (HSTORE, '"a"=>"1", '),
        (HSTORE, "a=>1"),
        (array(INT4), "{1,,2}"),
        (array(INT4), "{1}}"),
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
    + [array(TEXT), array(JSONB), array(array(INT4)), array(INT4), array(POINT), POINT, BOX]
    + [HSTORE, TypeFacts(22, "int2vector")]
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
