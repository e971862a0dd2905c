"""What is read from a phx_join payload, what is warned about, and the response that grants it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import ChangeBinding, JoinOptions, ReplayRequest
from protocol.phoenix import bindings as bindings_module
from protocol.phoenix.bindings import bind
from protocol.phoenix.join import (
    BINDINGS_LIMIT,
    PAYLOAD_LIMIT_BYTES,
    InvalidJoin,
    join_response,
    parse_join,
)

scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=5)
values = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)


def parse(payload) -> tuple[JoinOptions, tuple[str, ...]]:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    parsed = parse_join(data, "room")
    return parsed.options, parsed.warnings


def options(config) -> JoinOptions:
    return parse({"config": config})[0]


def warnings(config) -> tuple[str, ...]:
    return parse({"config": config})[1]


def bindings(*entries):
    return options({"postgres_changes": list(entries)}).changes


@pytest.mark.capability("SB-031", "SB-034", "SB-130")
def test_a_full_payload_is_read():
    payload = {
        "config": {
            "broadcast": {
                "ack": True,
                "self": True,
                "replication_ready": True,
                "replay": {"since": 1700000000000, "limit": 10},
            },
            "presence": {"enabled": True, "key": "me"},
            "postgres_changes": [],
            "private": True,
        },
        "access_token": "jwt",
        "user_token": "old",
        "version": "realtime-js/2.119.0",
    }

    assert parse(payload) == (
        JoinOptions(
            ack=True,
            echo=True,
            replication_ready=True,
            replay=ReplayRequest(1700000000000, 10),
            private=True,
            presence_enabled=True,
            presence_key="me",
            access_token="jwt",
            user_token="old",
        ),
        (),
    )


@pytest.mark.parametrize(
    "payload",
    [
        {"config": None},
        {"config": {}},
        {"config": {"broadcast": None, "presence": None, "postgres_changes": None}},
        {"config": {"broadcast": {"ack": None}, "private": None, "presence": {"key": None}}},
        {"config": {}, "access_token": None, "user_token": None},
        {"config": {"broadcast": {"replay": None, "replication_ready": None}}},
        {"config": {"postgres_changes": [None]}},
        {"config": {}, "unknown": {"config": 1}},
    ],
)
@pytest.mark.capability("SB-032")
def test_what_is_missing_or_null_takes_its_default_without_a_warning(payload):
    assert parse(payload) == (JoinOptions(), ())


def test_what_is_taken_for_a_word_is_what_it_says_not_how_it_is_written():
    assert parse(b'{"config":{"private":"tr\\u0075e"}}') == (JoinOptions(private=True), ())


@pytest.mark.parametrize("config", ["x", 5, True, [], [{}]])
def test_a_config_that_is_no_object_is_invalid(config):
    with pytest.raises(InvalidJoin, match="the config of a join must be an object"):
        options(config)


@pytest.mark.parametrize(
    ("replay", "request_"),
    [
        ({"since": 5}, ReplayRequest(5, 25)),
        ({"since": 5, "limit": None}, ReplayRequest(5, 25)),
        ({"since": 5, "limit": 26}, ReplayRequest(5, 25)),
        ({"since": 5, "limit": 0}, ReplayRequest(5, 1)),
        ({"since": 5, "limit": -3}, ReplayRequest(5, 1)),
        ({"since": 5, "limit": "3"}, ReplayRequest(5, None)),
        ({"since": 5, "limit": True}, ReplayRequest(5, None)),
        ({}, ReplayRequest(None, 25)),
        ({"since": "5"}, ReplayRequest(None, 25)),
        ({"since": 5.5}, ReplayRequest(None, 25)),
        ({"since": -1}, ReplayRequest(None, 25)),
        ({"since": 10**15}, ReplayRequest(None, 25)),
        ({"since": []}, ReplayRequest(None, 25)),
    ],
)
def test_a_replay_is_read_and_what_is_no_number_in_range_stays_unknown(replay, request_):
    assert options({"broadcast": {"replay": replay}}).replay == request_


@pytest.mark.parametrize(
    ("sub_topic", "parts"),
    [
        ("public", ("public", None, None)),
        ("*", ("*", None, None)),
        ("public:notes", ("public", "notes", None)),
        ("public:notes:id=eq.1", ("public", "notes", "id=eq.1")),
        ("public:notes:t=eq.a:b", ("public", "notes", "t=eq.a:b")),
        ('a"b', ('a"b', None, None)),
    ],
)
@pytest.mark.parametrize("payload", [b"{}", b'{"access_token":"t","user_token":5}'])
def test_without_a_config_the_topic_is_the_subscription(sub_topic, parts, payload):
    (binding,) = parse_join(payload, sub_topic).options.changes
    (granted,) = json.loads(join_response([binding]))["postgres_changes"]

    assert isinstance(binding, ChangeBinding)
    assert (binding.schema, binding.table, binding.filter) == parts
    assert (binding.kind, binding.is_legacy, binding.fault) == ("*", True, None)
    named = dict(zip(("schema", "table", "filter"), parts, strict=True))
    assert granted == {k: v for k, v in named.items() if v is not None} | {"id": binding.id}


@pytest.mark.parametrize("value", [True, "true", "TRUE", "True", "tRuE"])
def test_a_boolean_may_be_a_word_in_any_case(value):
    config = {"broadcast": {"ack": value, "self": value}, "private": value}

    assert options(config) == JoinOptions(ack=True, echo=True, private=True)


@pytest.mark.parametrize("value", [False, "false", "FALSE"])
def test_a_false_word_is_no_fault(value):
    assert parse({"config": {"private": value}}) == (JoinOptions(), ())


@pytest.mark.parametrize(
    ("payload", "warning"),
    [
        (
            {"config": {"broadcast": {"ack": "yes"}}},
            "config.broadcast.ack: unable to parse, expected boolean",
        ),
        (
            {"config": {"broadcast": {"self": 1}}},
            "config.broadcast.self: unable to parse, expected boolean",
        ),
        ({"config": {"private": []}}, "config.private: unable to parse, expected boolean"),
        (
            {"config": {"presence": {"enabled": {}}}},
            "config.presence.enabled: unable to parse, expected boolean",
        ),
        (
            {"config": {"presence": {"key": {}}}},
            "config.presence.key: unable to parse, expected string|integer",
        ),
        ({"config": {"broadcast": 5}}, "config.broadcast: unable to parse, expected a map"),
        ({"config": {"presence": []}}, "config.presence: unable to parse, expected a map"),
        (
            {"config": {"broadcast": {"replay": 5}}},
            "config.broadcast.replay: unable to parse, expected a map",
        ),
        (
            {"config": {"broadcast": {"replication_ready": 1}}},
            "config.broadcast.replication_ready: unable to parse, expected boolean",
        ),
        (
            {"config": {"postgres_changes": {}}},
            "config.postgres_changes: unable to parse, expected an array of maps",
        ),
        (
            {"config": {"postgres_changes": [{}, 5]}},
            "config.postgres_changes: unable to parse, expected an array of maps",
        ),
        ({"config": {}, "access_token": 5}, "access_token: unable to parse"),
        ({"config": {}, "user_token": {}}, "user_token: unable to parse"),
    ],
)
@pytest.mark.capability("SB-033")
def test_an_invalid_part_takes_its_default_with_a_warning(payload, warning):
    assert parse(payload) == (JoinOptions(), (warning,))


def test_the_valid_parts_around_an_invalid_one_are_kept():
    config = {"broadcast": {"ack": 7, "self": True}, "presence": 5, "private": "true"}

    assert options(config) == JoinOptions(echo=True, private=True)
    assert len(warnings(config)) == 2


@pytest.mark.parametrize(
    ("key", "text"), [(5, "5"), (1.5, "1.5"), (True, "true"), ("a", "a"), ("é", "é"), ("", "")]
)
def test_a_presence_key_may_be_any_scalar(key, text):
    assert options({"presence": {"key": key, "enabled": True}}).presence_key == text


def test_a_presence_key_alone_enables_presence():
    assert options({"presence": {"key": "me"}}).presence_enabled
    assert not options({"presence": {"key": ""}}).presence_enabled
    assert not options({"presence": {"key": "me", "enabled": False}}).presence_enabled


@pytest.mark.parametrize("payload", [b"null", b"5", b'"x"', b"[]", b"true"])
def test_a_payload_that_is_no_object_is_invalid(payload):
    with pytest.raises(InvalidJoin, match="must be an object"):
        parse_join(payload, "room")


def test_a_payload_over_the_limit_is_invalid():
    with pytest.raises(InvalidJoin, match="too large"):
        parse({"x": "y" * PAYLOAD_LIMIT_BYTES})


def test_as_many_bindings_as_the_limit_are_taken_and_one_more_is_invalid():
    entry = {"event": "*", "schema": "public"}

    assert len(bindings(*[entry] * BINDINGS_LIMIT)) == BINDINGS_LIMIT
    with pytest.raises(InvalidJoin, match="more than"):
        bindings(*[entry] * (BINDINGS_LIMIT + 1))


def test_null_elements_are_dropped_and_equal_entries_kept():
    entry = {"event": "*", "schema": "public"}
    found = bindings(None, entry, None, entry)

    assert len(found) == 2
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("INSERT", "INSERT"),
        ("insert", "INSERT"),
        ("Update", "UPDATE"),
        ("dElEtE", "DELETE"),
        ("*", "*"),
        ("truncate", "*"),
        ("", "*"),
        (5, "*"),
        (None, "*"),
    ],
)
def test_the_event_of_an_entry_is_normalised(event, kind):
    assert bindings({"event": event, "schema": "s"})[0].kind == kind


def test_a_missing_event_means_all():
    assert bindings({"schema": "s"})[0].kind == "*"


def test_the_members_of_an_entry_are_taken_as_sent():
    (binding,) = bindings(
        {
            "event": "*",
            "schema": "s",
            "table": "t",
            "filter": " id=eq.1",
            "select": ["a", 5, "b"],
        }
    )

    assert (binding.schema, binding.table) == ("s", "t")
    assert (binding.filter, binding.select) == (" id=eq.1", ("a", "b"))
    assert binding.fault is None


@pytest.mark.parametrize("select", [None, [], [5, None]])
def test_a_selection_of_nothing_is_none(select):
    (binding,) = bindings({"schema": "s", "select": select})

    assert (binding.select, binding.fault) == (None, None)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"table": "t", "filter": None}, '%{"filter" => nil, "schema" => "s", "table" => "t"}'),
        ({"table": "t", "filter": 5}, '"filter" => 5'),
        ({"filter": "id=eq.1"}, "at least a `schema` or `table`"),
        ({"schema": None}, '%{"schema" => nil}'),
        ({"schema": 5, "user_token": "s3cret"}, "subscribe to: <redacted>"),
        ({"select": "a"}, 'e.g. select: ["col1", "col2"]'),
        ({"select": {}}, "`select`"),
        ({"schema": 5}, 'subscribe to: %{"schema" => 5}'),
        ({"table": ["t"]}, '%{"schema" => "s", "table" => ["t"]}'),
    ],
)
def test_a_member_of_the_wrong_type_is_a_fault_of_the_entry(member, words):
    (binding,) = bindings({"schema": "s", **member})

    assert words in binding.fault


def test_the_reply_echoes_every_entry_verbatim_with_its_id():
    entries = b'{ "b":1.0,"event" : "INSERT", "id":5 }', b"{ }", b'{"a":"}"}'
    payload = b'{"config":{"postgres_changes":[null,' + b" , ".join(entries) + b"]}}"
    changes = parse(payload)[0].changes
    response = join_response(changes)

    assert [binding.entry for binding in changes] == list(entries)
    assert b'{ "b":1.0,"event" : "INSERT", "id":5,"id":%d}' % changes[0].id in response
    assert [entry["id"] for entry in json.loads(response)["postgres_changes"]] == [
        binding.id for binding in changes
    ]


@pytest.mark.capability("M5-039")
def test_a_join_without_bindings_is_granted_an_empty_list():
    assert join_response(()) == b'{"postgres_changes":[]}'


@given(st.lists(st.dictionaries(st.text(max_size=3), values, max_size=2), max_size=3))
def test_the_reply_is_the_entries_plus_id_for_any_entries(entries):
    changes = bindings(*entries)
    granted = json.loads(join_response(changes))["postgres_changes"]

    assert granted == [
        {**entry, "id": binding.id} for entry, binding in zip(entries, changes, strict=True)
    ]


@given(st.lists(st.dictionaries(st.sampled_from("abc"), scalars, max_size=2), max_size=20))
@pytest.mark.capability("SB-074")
def test_ids_are_27_bit_positive_and_equal_just_for_equal_entries(entries):
    texts = [json.dumps(entry, sort_keys=True) for entry in entries]
    ids = [binding.id for binding in bindings(*entries)]

    assert all(0 < number < 2**27 for number in ids)
    assert len(set(zip(texts, ids, strict=True))) == len(set(texts)) == len(set(ids))


def test_an_id_does_not_depend_on_key_order_white_space_or_the_join():
    (first,) = bind([b'{"schema":"s","table":"t"}'])
    *_, second = bind([b"{}", b'{ "table" : "t", "schema":"\\u0073" }'])

    assert first.id == second.id


@pytest.mark.parametrize(
    ("digest", "expected"),
    [(b"\xff" * 4, [2**27 - 1, 1, 2**27 - 1, 2]), (b"\x00" * 4, [1, 2, 1, 3])],
)
def test_entries_whose_ids_collide_get_others_and_never_0(monkeypatch, digest, expected):
    class SameHash:
        def digest(self) -> bytes:
            return digest

    monkeypatch.setattr(bindings_module, "blake2b", lambda content, digest_size: SameHash())
    entries = [b'{"a":1}', b'{"a":2}', b'{"a":1}', b'{"a":3}']

    assert [binding.id for binding in bind(entries)] == expected


@given(values)
def test_any_object_is_parsed_and_any_other_value_is_invalid(value):
    for payload in (
        value,
        {"config": value, "access_token": value},
        {"config": {"presence": value, "broadcast": value}, "access_token": value},
        {"config": {"broadcast": {"replay": {"since": value, "limit": value}}}},
    ):
        try:
            parse(payload)
        except InvalidJoin:
            assert not (isinstance(payload, dict) and isinstance(payload["config"], dict))


@given(
    st.dictionaries(st.sampled_from(["event", "schema", "table", "filter", "select"]), values)
)
def test_any_entry_yields_one_binding(entry):
    assert len(bindings(entry)) == 1
