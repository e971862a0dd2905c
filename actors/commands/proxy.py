"""Whether clients reach this server through what stands before it: asked from outside, as they would."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import httpx
import trio

from actors.auth.tokens import mint
from actors.db.findings import Finding, error, ok, warning

if TYPE_CHECKING:
    from actors.settings import Settings

WITHIN_S: Final = 10.0
#: Any 16 bytes do; the answer is made of them (RFC 6455, 4.2.2), which proves that a WebSocket server gave it.
UPGRADE: Final = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dHJvdXBlLWRvY3Rvci0hIQ==",
}
ACCEPTED: Final = "DY3gKE76mKcXSNlRHtXoTis5COM="
UPGRADE_REMEDY: Final = (
    'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
    "  # nginx; other proxies have the same two headers to pass on"
)


async def check_url(url: str, settings: Settings) -> list[Finding]:
    """Return what is to be said of the address that clients are given."""
    base = url.rstrip("/")
    async with httpx.AsyncClient(timeout=WITHIN_S) as client:
        return [await _check_health(client, base), await _check_upgrade(client, base, settings)]


async def _check_health(client: httpx.AsyncClient, base: str) -> Finding:
    remedy = "# let the proxy pass on /healthcheck, for load balancers to ask"
    try:
        with trio.fail_after(WITHIN_S):
            response = await client.get(f"{base}/healthcheck")
    except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError) as failed:
        sentence = f"/healthcheck is not to be reached: {type(failed).__name__}."
        return error("healthcheck", sentence, "# start server and proxy, or correct --url")
    if (response.status_code, response.text) != (httpx.codes.OK, "ok"):
        sentence = f"/healthcheck is answered {response.status_code}, and not by this server."
        return warning("healthcheck", sentence, remedy)
    return ok("healthcheck", "/healthcheck comes through.")


async def _check_upgrade(client: httpx.AsyncClient, base: str, settings: Settings) -> Finding:
    parameters = {"vsn": "2.0.0"}
    secret = settings.signing_secret
    if secret is not None:
        parameters["apikey"] = mint(secret, "anon", time.time() + 60)  # noqa: TID251
    try:
        with trio.fail_after(WITHIN_S):
            async with client.stream(
                "GET", f"{base}/realtime/v1/websocket", params=parameters, headers=UPGRADE
            ) as response:
                return _judge(response, has_key=secret is not None)
    except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError) as failed:
        sentence = f"A WebSocket is not to be had: {type(failed).__name__}."
        return error("WebSocket", sentence, UPGRADE_REMEDY)


def _judge(response: httpx.Response, *, has_key: bool) -> Finding:
    status = response.status_code
    is_ours = response.headers.get("sec-websocket-accept") == ACCEPTED
    if status == httpx.codes.SWITCHING_PROTOCOLS and is_ours:
        return ok("WebSocket", "A WebSocket comes through.")
    if status == httpx.codes.UNAUTHORIZED and not has_key:
        sentence = "Without a secret no key can be made to try it; the request came through."
        return ok("WebSocket", sentence)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        sentence = f"A key made with this secret is answered {status}: it is another server's, or a gateway's."
        remedy = "REALTIME_JWT_SECRET=...  # that of the server behind --url"
        return error("WebSocket", sentence, remedy)
    return error(
        "WebSocket",
        f"A WebSocket is answered {status}: it does not come through.",
        UPGRADE_REMEDY,
    )
