"""Fetching a JWKS over HTTP: the only file that knows the HTTP client.

Bounded in time and size whatever the other end does; every way in which it fails is `Unavailable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx
import trio
from attrs import field, frozen

from actors.auth.keys import MAX_KEY_SET_BYTES
from actors.realtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext

#: Compressed answers are not asked for: a small one can unfold into a large one.
HEADERS: Final[Mapping[str, str]] = {
    "accept": "application/json, application/jwk-set+json",
    "accept-encoding": "identity",
}


@frozen
class HttpKeySet:
    """A JWKS at a URL; calling it fetches the text."""

    url: str = field(repr=False)
    within_s: float = 5.0
    #: Made once: reading the certificates of all authorities takes longer than anything else here.
    trusted: SSLContext = field(factory=httpx.create_ssl_context, repr=False)

    async def __call__(self) -> bytes:
        """Return the body of the answer; within `within_s` seconds, whatever happens.

        Raises:
            Unavailable: no answer in time, not 200, or more bytes than any JWKS has.
        """
        try:
            with trio.fail_after(self.within_s):
                return await self._get()
        except trio.TooSlowError:
            raise self._unavailable(f"there was no answer within {self.within_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unavailable(type(error).__name__) from None

    async def _get(self) -> bytes:
        body = bytearray()
        # Redirects are not followed: whose keys are trusted is for the settings to say, not for an answer.
        async with (
            httpx.AsyncClient(
                verify=self.trusted, timeout=self.within_s, headers=HEADERS
            ) as client,
            client.stream("GET", self.url) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise self._unavailable(f"the answer was {response.status_code}")
            with trio.CancelScope() as reading:
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > MAX_KEY_SET_BYTES:
                        # The client reads through generators within generators, which all end by this and by no break.
                        reading.cancel()
            if reading.cancel_called:
                raise self._unavailable(f"it has more than {MAX_KEY_SET_BYTES} bytes")
        return bytes(body)

    def _unavailable(self, why: str) -> Unavailable:
        url = httpx.URL(self.url)
        # A URL may hold a password or a key in its query.
        return Unavailable(
            f"cannot fetch the JWKS at {url.scheme}://{url.host}{url.path}: {why}"
        )
