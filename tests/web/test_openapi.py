"""The description of the HTTP API: complete, and true of a running server."""

from __future__ import annotations

import re
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

import actors.node
from actors.web.openapi_document import HEAD, document
from tests.support.running_node import running_node
from tests.support.server import PROJECT, Server
from tests.support.tokens import mint

#: Of the same answers under two addresses one is described.
TWIN = "/realtime/v1/api"
#: Files of the page and where it leads are no API.
UNDESCRIBED = {("GET", "/_"), ("GET", "/_/{name}")}
EXAMPLES = 15


def routes_of(routes, prefix=""):
    """Yield method and path of each route."""
    for route in routes:
        if isinstance(route, Mount):
            yield from routes_of(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            path = re.sub(r"\{(\w+):path\}", r"{\1}", prefix + route.path)
            # One route serves an address with two names in it, whose slashes may be encoded.
            path = path.replace("{address}", "{topic}/events/{event}")
            yield from ((method, path) for method in route.methods or () if method != "HEAD")


@pytest.fixture
async def served(monkeypatch):
    """The routes of a whole node."""
    sites = []
    make = actors.node.site

    def site(**parts):
        sites.append(make(**parts))
        return sites[-1]

    monkeypatch.setattr(actors.node, "site", site)
    async with running_node(None, no_database=True):
        yield set(routes_of(sites[0].application.routes))


async def test_every_route_is_described_and_every_described_route_is_there(served):
    described = {
        (method.upper(), path) for path, item in document()["paths"].items() for method in item
    }
    once = {(method, path) for method, path in served if not path.startswith(TWIN)}

    assert described == once - UNDESCRIBED
    assert {
        (method, path.replace("/api", TWIN, 1))
        for method, path in once
        if path.startswith("/api/")
    } == served - once


def test_the_version_is_that_of_the_package():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))

    assert HEAD["info"]["version"] == project["project"]["version"]


def test_two_files_that_describe_the_same_are_refused(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"paths": {"/x": {}}}', "utf-8")

    with pytest.raises(ValueError, match=r"described twice: \['/x'\]"):
        document(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(Path(tmp_path_factory.mktemp("openapi")), {"REALTIME_NO_DATABASE": "true"})
    try:
        server.start()
        yield server
    finally:
        server.stop()


def test_the_description_is_served_at_both_addresses(server):
    for path in ("/api/openapi", f"{TWIN}/openapi"):
        answer = httpx.get(server.url + path)
        assert answer.json() == document()
        assert answer.headers["content-type"] == "application/json"


DESCRIBED = schemathesis.openapi.from_dict(document())
OPERATIONS = [found.ok() for found in DESCRIBED.get_all_operations()]


#: What takes nothing cannot be given what is not allowed.
QUESTIONS = [
    pytest.param(operation, mode, id=f"{operation.label}-{mode.value}")
    for operation in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE
    or any(map(len, (operation.body, operation.path_parameters, operation.query)))
]


@pytest.mark.parametrize(("operation", "mode"), QUESTIONS)
def test_the_server_answers_as_described(operation, mode, server):
    """Ask each address what its description allows, and what it does not."""

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        case.call_and_validate(
            base_url=server.url,
            headers={"Authorization": f"Bearer {mint('service_role')}"},
            excluded_checks=CHECKS.get_by_names(
                ["positive_data_acceptance", "negative_data_rejection"]
            ),
        )

    ask()


def test_a_description_that_is_not_true_would_be_found(server):
    wrong = document()
    wrong["paths"] = {"/api/ping": {"get": {"responses": {"204": {"description": "Nothing."}}}}}
    operation = next(schemathesis.openapi.from_dict(wrong).get_all_operations()).ok()

    with pytest.raises(FailureGroup, match="Undocumented status code"):
        operation.Case().call_and_validate(base_url=server.url)
