"""Makes the reference pages whose truth is a table in the code; `make reference` writes them.

A test compares them with what is committed, so they cannot drift.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from actors.settings import Settings
from actors.settings_loading import aliases, flag, variable
from actors.telemetry.absent_codes import ABSENT
from actors.telemetry.codes import CODES
from protocol.frames import CloseCode
from tests.support.client_table import clients_page
from tests.support.metrics_page import metrics_page
from tests.support.rest_page import rest_page

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

SETTINGS_HEAD = """\
# Settings

<!-- Made from actors/settings.py by `make reference`; do not edit. -->

Every setting is a flag of `python -m actors.main` and a variable.
The flag wins over the variable, and the variable over the default.
Names that end in `_s` are in seconds, `_h` in hours, `_ms` in milliseconds, those that end in `_bytes` in bytes.
A duration may be written as Go does as well: `90s`, `1h30m`, `100ms`.

| flag | variable | default | meaning |
| --- | --- | --- | --- |
"""


ERROR_CODES_HEAD = """\
# Error codes

<!-- Made from actors/telemetry/codes.py by `make reference`; do not edit. -->

A code is stable: programs may compare it.
The sentence that comes with it is for people, and may be put better one day.
A refused join is told both, as `<Code>: <sentence>`; a `system` message has the sentence alone;
in the log a code is the value of `code`, and in a metric that of the label `code` or `reason`.
*Who* can put it right: the client (its program or its user), the operator, or nobody but this server itself.

| code | meaning | who | where it is seen |
| --- | --- | --- | --- |
"""

ABSENT_CODES_HEAD = """
## Codes of Supabase that do not occur

<!-- Made from actors/telemetry/absent_codes.py. -->

| codes | why not |
| --- | --- |
"""

CLOSE_CODES_HEAD = """\
# Close codes

<!-- Made from protocol/frames.py by `make reference`; do not edit. -->

With which code the server closes a WebSocket, and what for.
supabase-js and realtime-py connect and join again after every close that they did not ask for, whatever the code;
phoenix.js takes 1000 as final.
`realtime_connections_closed_total` counts the ends of connections under the code that was sent or received.

| code | name | when |
| --- | --- | --- |
"""

CLOSE_CODES_TAIL = """
When the client closes, its own code comes back, and that code is counted.
`1005` is counted when it gave none, `1006` when it was gone without a word.
A client that does not answer a CLOSE frame is cut off after a few seconds,
or at the end of `--grace-s` when the server stops.

A server that stops sends its clients home one after the other, so that the next one is not stampeded:
up to a hundred a second at once, more of them evenly over the first half of `--grace-s`.
Until it is its turn a client is served as ever; nobody new is let in.
A second signal ends the server at once, and its connections without a word (1006).

Supabase closes with 1001 when a tenant is unknown, which does not occur here,
and kills a connection that holds more than 50 MB without a word; here it is told and closed with 1008.
"""


def error_codes_page() -> str:
    rows = (
        f"| `{code.name}` | {code.meaning} | {code.fault.value} | {', '.join(place.value for place in code.places)} |\n"
        for code in CODES
    )
    absent = (
        f"| {', '.join(f'`{name}`' for name in names)} | {reason} |\n"
        for reason, names in ABSENT.items()
    )
    return ERROR_CODES_HEAD + "".join(rows) + ABSENT_CODES_HEAD + "".join(absent)


def close_codes_page() -> str:
    rows = (f"| {code.value} | `{code.name}` | {code.when} |\n" for code in CloseCode)
    return CLOSE_CODES_HEAD + "".join(rows) + CLOSE_CODES_TAIL


def settings_page() -> str:
    rows = (
        f"| `{flag(field)}` | `{variable(field)}` | {_default(field.default)} |"
        f" {field.metadata['help']}{_also(field)} |\n"
        for field in attrs.fields(Settings)
    )
    return SETTINGS_HEAD + "".join(rows)


def _also(field: attrs.Attribute[Any]) -> str:
    return "".join(f"; also `{name}`" for name in aliases(field))


def _default(value: object) -> str:
    if value is None or value == frozenset():
        return "none"
    return "off" if value is False else f"`{value}`"


def pages() -> Mapping[Path, str]:
    """Return each page's place and text."""
    return {
        FOLDER / "settings.md": settings_page(),
        FOLDER / "error-codes.md": error_codes_page(),
        FOLDER / "close-codes.md": close_codes_page(),
        FOLDER / "clients.md": clients_page(),
        FOLDER / "metrics.md": metrics_page(),
        FOLDER / "rest.md": rest_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
