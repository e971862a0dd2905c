"""The Supabase dialect: Phoenix Channels with the events of Supabase Realtime."""

from protocol.phoenix.codes import error_response
from protocol.phoenix.dialect import PhoenixDialect, UnsupportedVersion, negotiate
from protocol.phoenix.join import join_reply

__all__ = ["PhoenixDialect", "UnsupportedVersion", "error_response", "join_reply", "negotiate"]
