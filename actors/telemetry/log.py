"""Sets structlog up: one JSON object per line on stderr, or coloured lines for a developer at a terminal.

Called once by `actors.main`; everything else says `structlog.get_logger()`.
What other libraries say through `logging` comes out in the same form, from level warning on.

**Invariants**
- Each line has the keys `ts level event node`, in that order, then context variables and what the call gave.
- The value of a key that names a secret or a client's words is never written, however deep it lies.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import structlog
from attrs import frozen

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]

REDACTED: Final = "[redacted]"
# Names are compared without `-` and `_`, so `X-Api-Key` and `access_token` are found.
SECRET_NAME: Final = re.compile(
    "token|apikey|authorization|password|passphrase|secret|cookie|conninfo|jwt"
    "|^(claims|payload|url|dsn)$"
)


@frozen
class LogOptions:
    """`node` names this process in every line; `development` allows the readable form at a terminal."""

    node: str
    level: Level = "info"
    development: bool = False


def configure(options: LogOptions, stream: TextIO | None = None) -> None:
    """Set up logging for the whole process; `stream` defaults to stderr.

    Writing a line blocks when the reader of `stream` does: there is no queue that could lose the last lines.
    """
    stream = sys.stderr if stream is None else stream
    structlog.configure(
        processors=processors(options, readable=options.development and stream.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(options.level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[ForeignLogs()], level=logging.WARNING, force=True)


def processors(options: LogOptions, *, readable: bool) -> Sequence[Processor]:
    """Return what each line goes through, the writer of its final form last."""

    def arrange(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        first = {
            "ts": line.pop("ts"),
            "level": line.pop("level"),
            "event": line.pop("event"),
            "node": options.node,
        }
        return first | dict(line)

    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        redact,
        arrange,
    ]
    if readable:
        plain = structlog.dev.plain_traceback
        return [
            *common,
            structlog.dev.ConsoleRenderer(timestamp_key="ts", exception_formatter=plain),
        ]
    # `repr` for what JSON does not know: attrs keeps secret fields out of it.
    return [
        *common,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=repr),
    ]


def redact(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Replace the values of secret names; the event itself stays."""
    return _without_secrets(line)


class ForeignLogs(logging.Handler):
    """Hands what libraries say through `logging` to structlog."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library.logged",
            logger=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )


def _without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: REDACTED if _is_secret(name) else _redacted(value)
        for name, value in values.items()
    }


def _redacted(value: object) -> object:
    if isinstance(value, dict):
        return _without_secrets(value)
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def _is_secret(name: object) -> bool:
    plain = str(name).lower().replace("-", "").replace("_", "")
    return SECRET_NAME.search(plain) is not None
