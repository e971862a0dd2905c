"""Which pages may open a WebSocket."""

from __future__ import annotations

import pytest

from actors.settings import Settings
from actors.settings_loading import InvalidSetting, load
from actors.web.endpoint import Refusal
from actors.web.origins import OriginGuard as Guard
from actors.web.origins import Origins, parse_origins
from tests.support.web import start_port, upgrade_head

LISTED = parse_origins("https://example.com, https://*.example.org,http://localhost:3000")


class Counting:
    """An endpoint that refuses everybody, and counts them."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, _request):
        self.asked += 1
        return Refusal(418)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "https://example.com",
        "HTTPS://Example.COM",
        "https://a.example.org",
        "https://a.b.example.org",
        "http://localhost:3000",
    ],
)
def test_an_origin_that_is_listed_is_allowed_and_so_is_who_is_no_page(origin):
    assert LISTED.allow(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://example.com",
        "https://example.com:8443",
        "https://example.com.evil.net",
        "https://evilexample.com",
        "https://example.org",
        "https://evilexample.org",
        "https://.example.org",
        "https://evil.net/.example.org",
        "https://evil.net:1.example.org",
        "https://user@a.example.org",
        "http://localhost",
        "\ud800",
    ],
)
@pytest.mark.capability("GF-117", "GF-158")
def test_another_origin_is_not(origin):
    assert not LISTED.allow(origin)


@pytest.mark.capability("SB-104")
@pytest.mark.parametrize("origin", [None, "https://anything.net", "null", ""])
def test_all_are_allowed_unless_some_are_listed(origin):
    assert Settings().allowed_origins.are_all_allowed
    assert Origins().allow(origin)


@pytest.mark.parametrize("text", ["example.com", "https://a/path", "https://*", "x, y", ","])
def test_what_is_no_list_of_origins_is_refused(text):
    with pytest.raises(InvalidSetting, match=r"--allowed-origins must be \* or a list"):
        load(["--allowed-origins", text], {})


def test_a_page_from_a_file_may_be_listed():
    assert parse_origins("null").allow("null")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("", 418),
        ("Origin: https://example.com\r\n", 418),
        ("Origin: https://evil.net\r\n", 403),
    ],
)
async def test_a_guarded_door_is_not_asked_about_other_origins(
    autojump_clock, nursery, lines, status
):
    door = Counting()
    guard = Guard(LISTED, door, Refusal(403, b"no"))
    port = await start_port(nursery, websockets={"/socket": guard})
    client = port.connect()
    await client.send(upgrade_head("/socket", lines))

    assert (await client.response()).status == status
    assert door.asked == (status == 418)
