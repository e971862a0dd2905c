"""The outer shape of every Phoenix message: join_ref, ref, topic, event, payload.

`v1` and `v2` read and write it as text, `binary` reads the pushes that come as bytes.
`session` and `render` know only this.
These are msgspec structs, not attrs classes: an array is decoded straight into one in a fifth of a microsecond.

**Source**: spec 1.3 and 1.4.
"""

from typing import Annotated

from msgspec import Meta, Raw, Struct

from protocol.commands import Persist
from protocol.events import UserBroadcast

# Refs are kept and echoed, so they are bounded: 255 characters because a binary frame cannot carry more,
# 2**53 because a JavaScript client cannot count further. Stock clients send short numeric strings.
Ref = Annotated[str, Meta(max_length=255)] | Annotated[int, Meta(ge=-(2**53), le=2**53)] | None


class Envelope(Struct, array_like=True, frozen=True, gc=False):
    """One text message, in either direction; as an array it is the text form of 2.0.0.

    `payload` keeps the frame it was cut from alive.
    """

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: Raw


class BinaryPush(Struct, frozen=True, gc=False):
    """One push that came as a binary frame; `message` is what it says if it is a broadcast, to be stored or not."""

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    message: UserBroadcast
    persist: Persist | None = None


Push = Envelope | BinaryPush
