"""Serializer 1.0.0: text only, every message a JSON object.

Chosen by `dialect`; supabase-py and clients that send no `vsn` speak it.

**Source**: spec 1.3.
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder, Encoder

from protocol import jsontext
from protocol.errors import MalformedFrame, UnknownFrame
from protocol.phoenix.envelope import Envelope, Ref


class _ClientObject(Struct, frozen=True, gc=False):
    topic: str
    event: str
    payload: Raw
    ref: Ref
    join_ref: Ref = None


class _ServerObject(Struct, frozen=True, gc=False):
    """Exactly these four keys: supabase-py drops a message without `ref`, and none may carry `join_ref`."""

    ref: Ref
    topic: str
    event: str
    payload: Raw


_decoder = Decoder(_ClientObject)
_encoder = Encoder()


def decode(data: str | bytes) -> Envelope:
    """Return the message of one frame; the opcode is ignored, as upstream does.

    Raises:
        MalformedFrame: not JSON, or a key is missing or of the wrong type.
        UnknownFrame: JSON, but not an object.
    """
    text = data if isinstance(data, str) else jsontext.utf8(data)
    try:
        message = jsontext.decode(_decoder, text)
    except MalformedFrame:
        _refuse_other_json(text)
        raise
    return Envelope(
        message.join_ref, message.ref, message.topic, message.event, message.payload
    )


def encode(message: Envelope) -> bytes:
    """Return the text of one message; its join_ref is left out."""
    return _encoder.encode(
        _ServerObject(message.ref, message.topic, message.event, message.payload)
    )


def _refuse_other_json(text: str) -> None:
    if text.lstrip(" \t\r\n").startswith("{"):
        return
    jsontext.check(text.encode(errors="surrogatepass"))
    raise UnknownFrame("JSON, but not an object")
