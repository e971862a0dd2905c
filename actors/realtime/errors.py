"""What the actors of this floor answer when they cannot or will not.

`Refused`: our answer is no. `Unavailable`: a resource is away, the same request may succeed later.
Both are caught at the session boundary of the connection or by the HTTP exchange; neither ever crashes an actor.
"""

from __future__ import annotations

from typing import ClassVar


class Refused(Exception):
    """Our answer is no; `code` is stable, or empty for none; `reason` is the literal text for the client.

    `notice` is the text for a subscription that ends by this; mostly the reason too.
    """

    #: True when what is refused speaks against the whole connection, which is closed with 1001.
    ends_connection: ClassVar[bool] = False

    def __init__(self, code: str, reason: str, notice: str | None = None) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.notice = reason if notice is None else notice


class Unauthorized(Refused):
    """The token is missing, malformed, expired or not signed by a key we trust."""


class TokenExpired(Unauthorized):
    """The token was good until `seconds_ago` seconds ago."""

    def __init__(self, seconds_ago: int) -> None:
        super().__init__("InvalidJWTToken", f"Token has expired {seconds_ago} seconds ago")
        self.seconds_ago = seconds_ago


class Forbidden(Refused):
    """The identity is known and may not do this."""


class PolicyUndecided(Refused):
    """A policy could not be asked, or failed: nobody is let in by it."""


class Suspended(Refused):
    """The tenant is switched off for the time being."""


class RateLimited(Refused):
    """A quota of the tenant is used up."""


class TooManyJoins(RateLimited):
    """The tenant is joined too often; the client is to come back later and start over."""

    ends_connection = True


class ChannelBusy(Refused):
    """A channel did not take a broadcast in time; of `total` in one request `accepted` were taken before."""

    def __init__(self, accepted: int, total: int) -> None:
        reason = f"The channel is too busy: {accepted} broadcasts of {total} were accepted"
        super().__init__("channel_busy", reason)


class NotPersisted(Refused):
    """A broadcast that its sender wants stored cannot be; the reason is a sentence for the sender."""


class Unavailable(Exception):
    """A resource is away; `advice` is one sentence that says what to change or what is being waited for."""

    def __init__(self, advice: str) -> None:
        super().__init__(advice)
        self.advice = advice


class DatabaseUnavailable(Unavailable):
    """Postgres cannot be reached, or is not set up for what was asked."""


class SocketClosed(Exception):
    """The socket ended; `code` is the peer's close code, 1006 when there was none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code
