"""The description of the HTTP API: complete, and true of a running server."""

from __future__ import annotations

import tomllib
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from starlette.routing import Mount, Route

import actors.site
from actors.web.openapi_document import HEAD, document, paths_of
from tests.support.running_node import running_node
from tests.support.server import PROJECT, Server
from tests.support.tokens import mint

#: Of the same answers under two addresses one is described.
TWIN = "/realtime/v1/api"
#: Files of the page and where it leads are no API, and neither is what is refused whatever it is.
UNDESCRIBED = {
    ("GET", "/_"),
    ("GET", "/_/{name}"),
    ("ANY", "/realtime/channels/{name}/{rest}"),
    ("ANY", "/realtime/subscriptions/{id}/{rest}"),
    ("ANY", "/realtime/triggers/{table}/{rest}"),
}
#: A route with more methods than that answers most of them with a refusal of its own.
MOST_METHODS = 4
EXAMPLES = 15
TAGS = [tag["name"] for tag in document()["tags"]]


def methods_and_paths(routes, prefix=""):
    """Yield method and path of each route; of one that answers every method, those that are described."""
    described = document()["paths"]
    for route in routes:
        if isinstance(route, Mount):
            yield from methods_and_paths(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            (path,) = paths_of([route], prefix)
            methods = set(route.methods or ()) - {"HEAD"}
            if len(methods) > MOST_METHODS:
                methods = {method.upper() for method in described.get(path, {"any": None})}
            yield from ((method, path) for method in methods)


@pytest.fixture
async def served(monkeypatch):
    """Method and path of all routes of a whole node."""
    sites = []
    make = actors.site.site

    def site(**parts):
        sites.append(make(**parts))
        return sites[-1]

    monkeypatch.setattr(actors.site, "site", site)
    async with running_node(None, no_database=True):
        yield set(methods_and_paths(sites[0].application.routes))


async def test_every_route_is_described(served):
    paths = {path for _, path in served}
    described = {
        (method.upper(), path)
        for path, item in document(paths)["paths"].items()
        for method in item
    }
    once = {(method, path) for method, path in served if not path.startswith(TWIN)}
    twins = {
        (method, path.replace("/api", TWIN, 1))
        for method, path in once
        if path.startswith("/api/")
    }

    assert described == once - UNDESCRIBED
    assert twins == served - once


def test_what_is_not_served_is_not_described():
    assert list(document({"/healthcheck"})["paths"]) == ["/healthcheck"]


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))

    assert HEAD["info"]["version"] == project["project"]["version"]


def test_two_files_that_describe_the_same_are_refused(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"paths": {"/x": {}}}', "utf-8")

    with pytest.raises(ValueError, match=r"described twice: \['/x'\]"):
        document(folder=tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = {"REALTIME_NO_DATABASE": "true"}
    server = Server(Path(tmp_path_factory.mktemp("openapi")), settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def test_the_description_is_served_at_both_addresses(server):
    first, second = (httpx.get(server.url + root + "/openapi") for root in ("/api", TWIN))

    assert first.content == second.content
    assert first.headers["content-type"] == "application/json"
    assert "/api/broadcast" in first.json()["paths"]


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("tag", TAGS)
def test_the_server_answers_as_described(tag, mode, server):
    """Ask each address what its description allows, or what it does not."""
    schema = schemathesis.openapi.from_url(f"{server.url}/api/openapi").include(tag=tag)
    for found in schema.get_all_operations():
        operation = found.ok()
        # Every text is a name; only a body can be what it must not be.
        if len(operation.body) or mode is GenerationMode.POSITIVE:
            ask(operation, mode, server)


def ask(operation, mode, server) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate(
            base_url=server.url,
            headers={"Authorization": f"Bearer {mint('service_role')}"},
            # What is refused, or accepted, beyond the shape of a body is said in words.
            excluded_checks=CHECKS.get_by_names(
                ["positive_data_acceptance", "negative_data_rejection"]
            ),
        )

    check()


def test_a_description_that_is_not_true_would_be_found(server):
    wrong = document({"/api/ping"})
    wrong["paths"]["/api/ping"]["get"]["responses"] = {"204": {"description": "Nothing."}}
    operation = next(schemathesis.openapi.from_dict(wrong).get_all_operations()).ok()

    with pytest.raises(FailureGroup, match="Undocumented status code"):
        operation.Case().call_and_validate(base_url=server.url)
