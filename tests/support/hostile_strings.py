"""Strings that would do harm if any part of a filter were pasted into SQL, a pattern, a list or a message."""

from __future__ import annotations

from itertools import product

_STATEMENTS = (
    "drop table canary",
    "delete from canary",
    "create role intruder superuser",
    "select pg_terminate_backend(pg_backend_pid())",
    "set role none",
    "copy canary to program 'true'",
    "do $$ begin delete from canary; end $$",
)
_BREAKOUTS = (
    "'",
    "''",
    '"',
    "\"'",
    "\\'",
    "')",
    "'))",
    "'::text)",
    "}'",
    "$$",
    "*/",
    "%'",
    "1",
    "]",
)
_ENDINGS = ("--", ";")
_OTHERS = (
    *(
        "' or '1'='1",
        "1 or true",
        "null",
        "NULL",
        "default",
        "*",
        "%s",
        "%(name)s",
        "%%",
        "%",
        "{0}",
        "{name}",
    ),
    *(
        "$1",
        ":1",
        "?",
        "\\",
        "\\\\",
        "\\x00",
        "\\000",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udfff",
        "\ufeff",
        "\u202e",
    ),
    *(
        "1::text",
        "current_user",
        "now()",
        "pg_sleep(10)",
        "(select 1)",
        "${x}",
        "#{x}",
        "`id`",
        "../../x",
        "{",
        "}",
    ),
    *(
        "(",
        ")",
        "{{}",
        "}{",
        "[1:2]={1,2}",
        '{"',
        '"}',
        ",",
        ",,",
        "a,b",
        "\n",
        "\r\n",
        "\t",
        " ",
        "",
        "'",
        '"',
        "''",
    ),
    *(
        "l.value",
        "r.value",
        "OPERATOR(pg_catalog.=)",
        "COLLATE",
        "--",
        "/*",
        "/**/",
        "E'\\''",
        "U&'\\0061'",
        "B'1'",
    ),
    *(
        "9" * 400,
        "1e999999",
        "-1e-999999",
        "a" * 70,
        "😀" * 20,
        "(" * 300,
        "[" * 300,
        "(a*)*" * 20,
        "a{1,255}" * 9,
    ),
)

HOSTILE_STRINGS = [
    *(
        f"{breakout}; {what} {ending}"
        for breakout, what, ending in product(_BREAKOUTS, _STATEMENTS, _ENDINGS)
    ),
    *_OTHERS,
]
