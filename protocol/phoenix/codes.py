"""The literal reasons a Phoenix session gives, and the response that carries one.

Used by `session`, and by `render` for the refusals of the connection.

supabase-js joins all values of a response into its error message, so there is nothing but the reason in it.

**Source**: spec 1.5 and 2.3 for the texts.
"""

from protocol import jsontext
from protocol.commands import JoinFault

UNMATCHED_TOPIC = "unmatched topic"
TOO_MANY_CHANNELS = JoinFault("", "too many channels joined")
TOPIC_NAME_REQUIRED = JoinFault("TopicNameRequired", "You must provide a topic name")


def error_response(reason: str) -> bytes:
    """Return the `response` of a refusal: `{"reason": …}`."""
    return jsontext.write({"reason": reason})
