"""Serializer 2.0.0: text messages are JSON arrays, and there are binary ones (`binary`).

Chosen by `dialect`; supabase-js speaks it.

**Source**: spec 1.4.
"""

from collections.abc import Callable
from typing import Final

from msgspec.json import Decoder, Encoder

from protocol import jsontext
from protocol.phoenix import binary
from protocol.phoenix.envelope import Envelope, Push

_decoder = Decoder(Envelope)


def decode(data: str | bytes) -> Push:
    """Return the push of one frame; elements after the fifth are ignored.

    Raises:
        MalformedFrame: the text is no array of at least five such elements, or the bytes end too early.
        UnknownFrame: the bytes are of no kind that a client sends.
    """
    if isinstance(data, str):
        return jsontext.decode(_decoder, data)
    return binary.decode_push(data)


#: Return the text of one message.
encode: Final[Callable[[Envelope], bytes]] = Encoder().encode
