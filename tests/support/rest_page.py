"""Makes docs/reference/rest.md from the description that the server serves of itself."""

from __future__ import annotations

from typing import Any

from actors.web.openapi_document import document

HEAD = """\
# HTTP

<!-- Made from actors/web/openapi/ by `make reference`; do not edit. -->

Everything that can be asked over HTTP. A running server describes itself at `GET /api/openapi`, as OpenAPI 3.1.
Whatever is served below `/api` is served below `/realtime/v1/api` too.
A key is sent as `Authorization: Bearer <key>`; broadcasts take `apikey: <key>` as well.
"""


def rest_page() -> str:
    whole = document()
    sections = (_section(tag, whole) for tag in whole["tags"])
    return HEAD + "".join(sections)


def _section(tag: dict[str, str], whole: dict[str, Any]) -> str:
    operations = (
        _operation(f"{method.upper()} {path}", operation, whole)
        for path, item in whole["paths"].items()
        for method, operation in item.items()
        if tag["name"] in operation["tags"]
    )
    return f"\n## {tag['name']}\n\n{tag['description']}\n" + "".join(operations)


def _operation(title: str, operation: dict[str, Any], whole: dict[str, Any]) -> str:
    lines = [f"\n### `{title}`\n", f"{operation['summary']}. {_who(operation)}"]
    if "description" in operation:
        lines.append(operation["description"])
    parameters = [_found(one, whole) for one in operation.get("parameters", ())]
    if parameters:
        lines += ["", "| parameter | in | meaning |", "| --- | --- | --- |"]
        lines += [
            f"| `{one['name']}` | {one['in']} | {one.get('description', '')} |"
            for one in parameters
        ]
    body = operation.get("requestBody")
    if body is not None:
        kinds = " or ".join(f"`{kind}`" for kind in body["content"])
        lines += ["", f"The body is {kinds}."]
    lines += ["", "| status | body | meaning |", "| --- | --- | --- |"]
    lines += [
        _response(status, _found(response, whole))
        for status, response in operation["responses"].items()
    ]
    return "\n".join(lines) + "\n"


def _who(operation: dict[str, Any]) -> str:
    ways = operation.get("security", [{}])
    return "Without a key." if {} in ways else "With a key."


def _response(status: str, response: dict[str, Any]) -> str:
    kinds = ", ".join(f"`{kind}`" for kind in response.get("content", ())) or "none"
    return f"| {status} | {kinds} | {response['description']} |"


def _found(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference leads to, or what is none."""
    reference = part.get("$ref")
    if reference is None:
        return part
    found: Any = whole
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found
