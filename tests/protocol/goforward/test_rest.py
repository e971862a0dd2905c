"""What the bodies of GoForward's requests may say, and that nothing else is taken."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.goforward import rest
from protocol.managed import ChangeFilter, ChannelConfig, Permission
from protocol.managed_json import config_json, filter_json, read_config, read_filter

FULL = {
    "name": "chat-room-1",
    "max_subscribers": 1000,
    "require_auth": True,
    "permissions": {"read": ["user", "admin"], "write": ["user", "admin"], "admin": ["admin"]},
    "metadata": {"description": "General chat room", "n": 1.50},
}


def as_body(value) -> bytes:
    return json.dumps(value).encode()


def test_a_channel_is_described_by_its_document():
    name, config = rest.parse_channel(as_body(FULL))

    assert name == "chat-room-1"
    assert json.loads(config_json(config, 100)) == {
        k: v for k, v in FULL.items() if k != "name"
    }


def test_a_partial_description_gets_defaults():
    _, config = rest.parse_channel(b'{"name": "test-channel"}')

    assert json.loads(config_json(config, 100)) == {
        "max_subscribers": 100,
        "require_auth": True,
        "permissions": {},
        "metadata": {},
    }


def test_a_stored_configuration_is_read_back_as_it_was():
    _, config = rest.parse_channel(as_body(FULL))

    assert read_config(config_json(config, 100)) == config


@pytest.mark.parametrize(
    ("config", "role", "permission", "allowed"),
    [
        ("{}", "user", Permission.READ, True),
        ("{}", "user", Permission.ADMIN, True),
        ("{}", "anon", Permission.READ, False),
        ('{"read":["user"]}', "user", Permission.READ, True),
        ('{"read":["user"]}', "guest", Permission.READ, False),
        ('{"read":["user"]}', "guest", Permission.WRITE, False),
        ('{"read":["user"],"write":["admin"]}', "user", Permission.WRITE, False),
        ('{"read":["user"],"write":["admin"]}', "user", Permission.ADMIN, False),
        ('{"read":["user"],"write":["admin"]}', "admin", Permission.ADMIN, True),
        ('{"admin":["admin"]}', "user", Permission.WRITE, True),
        ('{"admin":["admin"]}', "user", Permission.ADMIN, False),
        ('{"read":["anon"]}', "anon", Permission.READ, True),
        ('{"read":[]}', "user", Permission.READ, False),
        ('{"read":[]}', "service_role", Permission.ADMIN, True),
    ],
)
def test_a_list_that_is_missing_is_the_one_before_it(config, role, permission, allowed):
    _, parsed = rest.parse_channel(b'{"name":"a","permissions":%b}' % config.encode())

    assert parsed.allows(role, permission) is allowed


def test_without_require_auth_anonymous_clients_may_do_everything_but_manage():
    config = ChannelConfig(require_auth=False)

    allowed = [config.allows("anon", permission) for permission in Permission]

    assert allowed == [True, True, False]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"name":5}',
        b'{"name":""}',
        b'{"name":"a/b"}',
        b'{"name":"a\\u0000b"}',
        b'{"name":"\\ud800"}',
        b'{"name":"it\'s"}',
        b'{"name":"' + b"a" * 10_000 + b'"}',
        b'{"name":"a","max_subscribers":0}',
        b'{"name":"a","max_subscribers":true}',
        b'{"name":"a","max_subscribers":"5"}',
        b'{"name":"a","require_auth":"yes"}',
        b'{"name":"a","permissions":[]}',
        b'{"name":"a","permissions":{"read":"user"}}',
        b'{"name":"a","permissions":{"rate_limit":0}}',
        b'{"name":"a","metadata":[]}',
        b'{"name":"a","metadata":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"name":"a","metadata":{"a":"' + b"x" * 20_000 + b'"}}',
        b'\xff{"name":"a"}',
    ],
)
def test_what_describes_no_channel_is_refused(body):
    with pytest.raises(rest.InvalidRequest):
        rest.parse_channel(body)


def test_a_message_is_a_message_unless_it_says_otherwise():
    message = rest.parse_message(b'{"event":"e","payload":{"n": 1.50}}')

    assert message == rest.PostedMessage("message", "e", b'{"n": 1.50}', private=False)


@pytest.mark.parametrize(
    "body", [b'{"event":""}', b'{"event":"e","type":"system"}', b'{"payload":{}}', b"[]"]
)
def test_what_is_no_message_is_refused(body):
    with pytest.raises(rest.InvalidRequest):
        rest.parse_message(body)


def test_a_filter_may_say_no_more_than_the_table():
    found = rest.parse_filter(b'{"table":"test_table","events":["INSERT","update"]}')

    assert rest.filter_members(found) == {
        "table": "test_table",
        "schema": "public",
        "events": ("INSERT", "UPDATE"),
    }


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"table":""}',
        b'{"table":"a%"}',
        b'{"table":"*"}',
        b'{"table":"a\\u0000"}',
        b'{"table":"a","events":["TRUNCATE"]}',
        b'{"table":"a","events":[]}',
        b'{"table":"a","columns":[""]}',
        b'{"table":"a","condition":' + as_body("x" * 5000) + b"}",
        b'{"table":"' + b"a" * 64 + b'"}',
    ],
)
def test_what_asks_for_no_changes_is_refused_as_a_subscription(body):
    with pytest.raises(rest.InvalidSubscription):
        rest.parse_filter(body)


def test_a_stored_filter_is_read_back_as_it_was():
    wanted = ChangeFilter("t", "public", ("INSERT",), ("id",), "a = 1", ("a=eq.1",))

    assert read_filter(filter_json(wanted)) == wanted


def test_a_filter_is_a_binding_per_event_and_alternative():
    wanted = ChangeFilter("t", "public", ("INSERT", "DELETE"), filters=("a=eq.1", "b=eq.2"))

    found = [(b.id, b.kind, b.filter) for b in wanted.bindings()]

    assert found == [
        (1, "INSERT", "a=eq.1"),
        (2, "INSERT", "b=eq.2"),
        (3, "DELETE", "a=eq.1"),
        (4, "DELETE", "b=eq.2"),
    ]


@pytest.mark.parametrize("body", [b'{"state":5}', b"{}", b'{"state":null}', b'{"state":[]}'])
def test_a_state_is_an_object(body):
    with pytest.raises(rest.InvalidRequest):
        rest.parse_state(body)


NAMES = (
    *("name", "max_subscribers", "permissions", "metadata", "event", "type"),
    *("payload", "state", "table", "schema", "events", "columns", "condition"),
)
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
VALUES |= st.lists(VALUES, max_size=3) | st.dictionaries(
    st.text(max_size=5), VALUES, max_size=3
)
BODIES = st.dictionaries(st.sampled_from(NAMES), VALUES)


@given(st.binary() | BODIES.map(as_body))
def test_no_body_is_anything_but_taken_or_refused(body):
    parsers = (rest.parse_channel, rest.parse_message, rest.parse_state, rest.parse_filter)
    for parse in parsers:
        with suppress(rest.InvalidRequest, rest.InvalidSubscription):
            parse(body)
