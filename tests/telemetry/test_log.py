"""The form of log lines, and what never gets into them."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from attrs import field, frozen

from actors.telemetry.log import REDACTED, LogOptions, configure

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


def only_line(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure(LogOptions(node="n1"), stream)
    return stream


def test_a_line_is_json_with_the_four_keys_first(stream: io.StringIO) -> None:
    structlog.get_logger().info("channel.attached", topic="realtime:a", took_ms=1.5)

    line = only_line(stream)
    assert list(line) == ["ts", "level", "event", "node", "topic", "took_ms"]
    assert line["ts"].endswith("Z")
    assert (line["level"], line["event"], line["node"]) == ("info", "channel.attached", "n1")


def test_context_variables_are_in_every_line(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(conn="conn_1"):
        structlog.get_logger().info("frame.dropped")

    assert only_line(stream)["conn"] == "conn_1"


@pytest.mark.parametrize(
    "name",
    [
        "token", "access_token", "apikey", "X-Api-Key", "Authorization", "password", "conninfo",
        "jwt_secret", "claims", "payload", "url",
    ],
)  # fmt: skip
def test_the_value_of_a_secret_name_is_not_written(stream: io.StringIO, name: str) -> None:
    structlog.get_logger().info("join.refused", **{name: "hunter2"})

    assert only_line(stream)[name] == REDACTED


def test_secrets_inside_other_values_are_not_written(stream: io.StringIO) -> None:
    structlog.get_logger().info("join.refused", request={"headers": [{"apikey": "hunter2"}]})

    assert "hunter2" not in stream.getvalue()
    assert only_line(stream)["request"] == {"headers": [{"apikey": REDACTED}]}


def test_a_secret_context_variable_is_not_written(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(token="hunter2"):
        structlog.get_logger().info("join.refused")

    assert "hunter2" not in stream.getvalue()


def test_harmless_names_keep_their_values(stream: io.StringIO) -> None:
    structlog.get_logger().info("frame.dropped", size_bytes=3, key="k", code="c")

    line = only_line(stream)
    assert (line["size_bytes"], line["key"], line["code"]) == (3, "k", "c")


def test_an_object_is_written_as_its_repr(stream: io.StringIO) -> None:
    @frozen
    class Person:
        name: str
        phrase: str = field(repr=False)

    structlog.get_logger().info("person.seen", person=Person("ann", "hunter2"))

    assert "name='ann'" in only_line(stream)["person"]
    assert "hunter2" not in stream.getvalue()


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure(LogOptions(node="n1", level="warning"), stream)

    structlog.get_logger().info("channel.attached")
    structlog.get_logger().warning("mailbox.rejected")

    assert only_line(stream)["event"] == "mailbox.rejected"


def test_a_traceback_stays_within_its_line(stream: io.StringIO) -> None:
    try:
        int("no")
    except ValueError:
        structlog.get_logger().exception("actor.crashed")

    assert "ValueError: invalid literal" in only_line(stream)["exception"]


def test_what_libraries_log_has_the_same_form(stream: io.StringIO) -> None:
    logging.getLogger("some.library").warning("disk %s", "full")
    logging.getLogger("some.library").info("chatter")

    line = only_line(stream)
    assert (line["event"], line["level"]) == ("library.logged", "warning")
    assert (line["logger"], line["message"]) == ("some.library", "disk full")


def test_a_developer_at_a_terminal_gets_a_readable_form() -> None:
    stream = Terminal()
    configure(LogOptions(node="n1", development=True), stream)

    structlog.get_logger().info("channel.attached", token="hunter2")

    assert "channel.attached" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize(
    ("options", "stream"),
    [
        (LogOptions(node="n1", development=True), io.StringIO()),
        (LogOptions(node="n1"), Terminal()),
    ],
)
def test_anything_else_is_json(options: LogOptions, stream: io.StringIO) -> None:
    configure(options, stream)

    structlog.get_logger().info("channel.attached")

    assert only_line(stream)["event"] == "channel.attached"
