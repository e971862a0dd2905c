"""Which WebSocket endpoint a path is for, and what the names in its pattern stand for."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette

from actors.web.endpoint import Site

SITE = Site(Starlette(), {"/exact/path": "exact", "/channels/{name}/ws": "channel"})


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"chat-room-1", "chat-room-1"),
        (b"caf%C3%A9%20one", "café one"),
        (b"a%2Fb", "a/b"),
        (b"", ""),
        (b"%00", "\0"),
        (b"%ff", "\ufffd"),
        (b"100%", "100%"),
    ],
)
def test_a_name_is_one_segment_of_the_path_decoded(raw, name):
    assert SITE.find_websocket("/?", b"/channels/" + raw + b"/ws") == (
        "channel",
        {"name": name},
    )


def test_a_path_without_names_is_compared_as_a_whole():
    assert SITE.find_websocket("/exact/path", b"/exact/p%61th") == ("exact", {})


@pytest.mark.parametrize(
    "path", ["/", "/channels/a", "/channels/a/b/ws", "/channels/a/ws/", "/Channels/a/ws"]
)
def test_other_paths_have_no_endpoint(path):
    assert SITE.find_websocket(path, path.encode()) is None
