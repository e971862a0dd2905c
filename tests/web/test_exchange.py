"""HTTP/1.1 as clients see it: real bytes over memory sockets, on the virtual clock."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from trio.testing import wait_all_tasks_blocked
from wsproto import events
from wsproto.connection import Connection, ConnectionType

from actors.web.endpoint import Refusal
from actors.web.options import HttpOptions, WebOptions
from tests.support.web import FakeDoor, echo, start_port, upgrade_head

GET = b"GET /echo HTTP/1.1\r\nHost: test\r\n\r\n"


async def echo_body(request):
    return PlainTextResponse(await request.body() or b"nothing")


async def crash(_request):
    raise ZeroDivisionError


async def stream(_request):
    async def parts():
        for part in (b"one ", b"two ", b"three"):
            yield part

    return StreamingResponse(parts())


async def wait_a_second(_request):
    await trio.sleep(1)
    return PlainTextResponse("waited")


APPLICATION = Starlette(
    routes=[
        Route("/echo", echo_body, methods=["GET", "POST"]),
        Route("/crash", crash),
        Route("/stream", stream),
        Route("/wait", wait_a_second),
    ]
)


def post(body: bytes, headers: str = "") -> bytes:
    return (
        f"POST /echo HTTP/1.1\r\nHost: test\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    ).encode() + body


def chunked(*chunks: bytes) -> bytes:
    head = b"POST /echo HTTP/1.1\r\nHost: test\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@pytest.fixture
async def port(nursery):
    options = WebOptions(http=HttpOptions(max_body_bytes=1000))
    return await start_port(
        nursery, APPLICATION, {"/socket": FakeDoorEndpoint(nursery)}, options
    )


class FakeDoorEndpoint:
    """Admits everybody with a good upgrade, to an echo."""

    def __init__(self, nursery) -> None:
        self.door = FakeDoor(nursery, echo)

    async def __call__(self, request):
        if request.problem is not None:
            return Refusal(400, request.problem.encode())
        self.door.admit(request)
        return None


@pytest.fixture
def client(port):
    return port.connect()


async def test_requests_follow_each_other_on_one_connection(autojump_clock, client):
    for _ in range(3):
        response = await client.get("/echo")
        assert (response.status, response.body) == (200, b"nothing")


async def test_pipelined_requests_are_answered_in_order(autojump_clock, client):
    await client.send(post(b"one") + GET + chunked(b"th", b"ree") + post(b"four"))

    bodies = [(await client.response()).body for _ in range(4)]

    assert bodies == [b"one", b"nothing", b"three", b"four"]


async def test_a_request_may_arrive_byte_by_byte(autojump_clock, client):
    for byte in post(b"slowly"):
        await client.send(bytes([byte]))
        await trio.sleep(0.01)

    assert (await client.response()).body == b"slowly"


async def test_an_unread_body_does_not_become_the_next_request(autojump_clock, client):
    await client.send(
        post(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").replace(b"/echo", b"/none", 1) + GET
    )

    assert (await client.response()).status == 404
    assert (await client.response()).body == b"nothing"


async def test_a_client_that_half_closes_still_gets_its_answer(autojump_clock, client):
    await client.send(GET.replace(b"/echo", b"/wait"))
    await client.stream.send_eof()

    assert (await client.response()).body == b"waited"
    assert await client.is_at_end()


async def test_head_has_the_headers_of_get_and_no_body(autojump_clock, client):
    await client.send(GET.replace(b"GET", b"HEAD"))
    response = await client.response(has_body=False)
    after = await client.get("/echo")

    assert response.headers["content-length"] == "7"
    assert after.body == b"nothing"


async def test_http_1_0_is_answered_and_closed(autojump_clock, client):
    await client.send(b"GET /stream HTTP/1.0\r\n\r\n")

    answer = await client.stream.receive_all()

    assert answer.endswith(b"\r\n\r\none two three")


async def test_a_response_of_unknown_length_is_chunked(autojump_clock, client):
    await client.send(GET.replace(b"/echo", b"/stream"))
    head = await client.response()

    assert head.headers["transfer-encoding"] == "chunked"


async def test_connection_close_is_obeyed(autojump_clock, client):
    await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    assert (await client.response()).status == 200
    assert await client.is_at_end()


async def test_an_absolute_target_is_served(autojump_clock, client):
    await client.send(GET.replace(b"/echo", b"http://test/echo?x=1"))

    assert (await client.response()).body == b"nothing"


class TestExpect:
    async def test_the_body_is_asked_for_when_it_is_wanted(self, autojump_clock, client):
        whole = post(b"body", "Expect: 100-continue\r\n")
        await client.send(whole[:-4])
        assert (await client.response(has_body=False)).status == 100

        await client.send(b"body")

        assert (await client.response()).body == b"body"

    async def test_a_body_nobody_wants_is_not_asked_for(self, autojump_clock, client):
        await client.send(
            post(b"body", "Expect: 100-continue\r\n").replace(b"/echo", b"/none")[:-4]
        )

        assert (await client.response()).status == 404
        assert await client.is_at_end()


class TestLimits:
    async def test_a_big_head_in_one_piece_is_431(self, autojump_clock, client):
        await client.send(GET[:-2] + b"x: " + b"y" * 17_000 + b"\r\n\r\n")

        assert (await client.response()).status == 431
        assert await client.is_at_end()

    async def test_a_big_head_in_many_pieces_is_431(self, autojump_clock, client):
        await client.send(GET[:-2] + b"x: ")
        for _ in range(18):
            await client.send(b"y" * 1000)
            await wait_all_tasks_blocked()

        assert (await client.response()).status == 431

    @pytest.mark.capability("SB-103")
    async def test_a_head_just_under_the_limit_passes(self, autojump_clock, client):
        await client.send(GET[:-2] + b"x: " + b"y" * 16_000 + b"\r\n\r\n")

        assert (await client.response()).status == 200

    async def test_small_pipelined_heads_are_not_counted_together(self, autojump_clock, client):
        await client.send(GET * 600)

        statuses = {(await client.response()).status for _ in range(600)}

        assert statuses == {200}

    async def test_a_slow_head_is_408_after_ten_seconds(self, autojump_clock, client):
        start = trio.current_time()
        await client.send(GET[:20])

        assert (await client.response()).status == 408
        assert trio.current_time() - start == 10

    async def test_a_connection_without_a_request_is_408(self, autojump_clock, client):
        assert (await client.response()).status == 408

    async def test_an_idle_kept_alive_connection_is_closed_silently(
        self, autojump_clock, client
    ):
        await client.get("/echo")
        start = trio.current_time()

        assert await client.is_at_end()
        assert trio.current_time() - start == 75

    async def test_a_slow_second_head_is_408(self, autojump_clock, client):
        await client.get("/echo")
        await trio.sleep(60)
        await client.send(GET[:20])

        assert (await client.response()).status == 408

    async def test_a_declared_body_over_the_limit_is_413(self, autojump_clock, client):
        await client.send(post(b"x" * 1001)[:-1001])

        assert (await client.response()).status == 413
        assert await client.is_at_end()

    async def test_a_chunked_body_over_the_limit_is_413(self, autojump_clock, client):
        await client.send(chunked(b"x" * 600, b"y" * 600))

        assert (await client.response()).status == 413

    async def test_a_body_at_the_limit_passes(self, autojump_clock, client):
        await client.send(post(b"x" * 1000))
        assert len((await client.response()).body) == 1000

        await client.send(chunked(b"x" * 600, b"y" * 400))
        assert len((await client.response()).body) == 1000

    async def test_a_slow_body_is_408(self, autojump_clock, client):
        await client.send(post(b"12345")[:-1])

        assert (await client.response()).status == 408

    @pytest.mark.parametrize(
        ("request_bytes", "status"),
        [
            (GET[:20], 408),
            (post(b"12345")[:-1], 408),
            (post(b"x" * 1001), 413),
            (b"GET /crash HTTP/1.1\r\nHost: test\r\n\r\n", 500),
            (b"garbage\r\n\r\n", 400),
        ],
    )
    async def test_a_page_of_any_origin_may_read_why_it_was_refused(
        self, autojump_clock, client, request_bytes, status
    ):
        await client.send(request_bytes)
        response = await client.response()

        assert response.status == status
        assert response.headers["access-control-allow-origin"] == "*"

    async def test_a_client_that_does_not_read_is_cut_off(self, autojump_clock, port):
        client = port.connect(window=10)
        await client.send(GET)
        await trio.sleep(40)

        assert port.listener.open_connections == 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"GET http://[::1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (b"GET //[/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
    ],
)
async def test_malformed_requests_are_refused(autojump_clock, client, request_bytes, status):
    await client.send(request_bytes)

    assert (await client.response()).status == status
    assert await client.is_at_end()


@pytest.mark.parametrize("left_after", [0, 5, len(GET) - 1])
async def test_a_client_may_leave_at_any_time(autojump_clock, port, left_after):
    client = port.connect()
    await client.send(GET[:left_after])
    await client.stream.aclose()
    await wait_all_tasks_blocked()

    assert port.listener.open_connections == 0
    assert (await port.connect().get("/echo")).status == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten(
    autojump_clock, port
):
    client = port.connect()
    await client.send(post(b"12345")[:-1])
    await client.stream.aclose()
    await wait_all_tasks_blocked()

    assert port.listener.open_connections == 0


class TestApplicationFailures:
    async def test_starlette_raising_again_after_its_500_ends_nothing(
        self, autojump_clock, client
    ):
        response = await client.get("/crash")
        assert (response.status, response.body) == (500, b"Internal Server Error")

        assert (await client.get("/echo")).status == 200

    @pytest.mark.parametrize("messages", [0, 1])
    async def test_a_crash_before_the_response_is_500(self, nursery, autojump_clock, messages):
        async def application(scope, receive, send):
            if messages:
                await send({"type": "http.response.start", "status": 200})
            raise ZeroDivisionError

        client = (await start_port(nursery, application)).connect()

        response = await client.get("/")
        assert response.status == 500
        assert response.headers["access-control-allow-origin"] == "*"

    async def test_a_crash_within_the_response_cuts_it(self, nursery, autojump_clock):
        async def application(scope, receive, send):
            headers = [(b"content-length", b"10")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"1", "more_body": True})
            raise ExceptionGroup("many", [ZeroDivisionError()])

        port = await start_port(nursery, application)
        await (client := port.connect()).send(GET)

        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await client.response()
        assert port.listener.open_connections == 0

    async def test_a_response_that_never_ends_is_500(self, nursery, autojump_clock):
        async def application(scope, receive, send):
            return

        client = (await start_port(nursery, application)).connect()

        assert (await client.get("/")).status == 500

    async def test_an_application_learns_that_the_client_left(self, nursery, autojump_clock):
        heard = []

        async def application(scope, receive, send):
            while not heard or heard[-1] != "http.disconnect":
                heard.append((await receive())["type"])

        client = (await start_port(nursery, application)).connect()
        await client.send(GET)
        await client.stream.aclose()
        await wait_all_tasks_blocked()

        assert heard == ["http.request", "http.disconnect"]


class TestUpgrade:
    async def test_a_fresh_connection_becomes_a_websocket(self, autojump_clock, client):
        assert (await client.upgrade()).status == 101
        await client.send_event(events.TextMessage("hello"))

        assert await client.event() == "hello"

    async def test_a_used_connection_becomes_a_websocket(self, autojump_clock, client):
        await client.get("/echo")

        assert (await client.upgrade()).status == 101

    async def test_pipelined_requests_may_end_in_a_websocket(self, autojump_clock, client):
        await client.send(GET + upgrade_head())

        assert (await client.response()).status == 200
        assert (await client.response()).status == 101

    async def test_frames_glued_to_the_handshake_are_not_lost(self, autojump_clock, client):
        early = Connection(ConnectionType.CLIENT).send(events.TextMessage("early"))
        await client.upgrade(early=early)

        assert await client.event() == "early"

    async def test_a_refused_client_may_go_on(self, autojump_clock, client):
        assert (await client.get("/socket")).status == 400

        assert (await client.get("/echo")).status == 200
        assert (await client.upgrade()).status == 101

    async def test_an_upgrade_elsewhere_is_an_ordinary_request(self, autojump_clock, client):
        assert (await client.upgrade("/echo")).status == 200
        assert (await client.get("/echo")).status == 200

    @pytest.mark.parametrize(
        ("line", "other", "word"),
        [
            ("Connection: keep-alive, Upgrade", "Connection: keep-alive", "connection"),
            ("Upgrade: websocket", "Upgrade: h2c", "upgrade"),
            ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", "version"),
            ("Sec-WebSocket-Key", "X-Key", "key"),
            ("HTTP/1.1", "HTTP/1.0", "HTTP/1.1"),
            ("Host: test", "Host: test\r\nContent-Length: 1", "body"),
        ],
    )
    async def test_what_is_missing_is_named(self, autojump_clock, client, line, other, word):
        await client.send(upgrade_head().replace(line.encode(), other.encode()) + b"x")
        response = await client.response()

        assert response.status == 400
        assert word in response.body.decode()

    async def test_a_host_that_is_no_name_is_no_problem(self, autojump_clock, client):
        await client.send(upgrade_head().replace(b"Host: test", b"Host: " + b"\xff" * 99))

        assert (await client.response()).status == 101


async def test_the_limit_on_connections_is_answered_503(nursery, autojump_clock):
    options = evolve(WebOptions(), max_connections=1)
    port = await start_port(nursery, APPLICATION, options=options)
    first = port.connect()
    await first.get("/echo")

    assert (await port.connect().response()).status == 503
    await first.stream.aclose()
    await wait_all_tasks_blocked()
    assert (await port.connect().get("/echo")).status == 200
