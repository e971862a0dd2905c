"""The Supabase dialect: Phoenix Channels with the events of Supabase Realtime."""

from protocol.phoenix.dialect import PhoenixDialect, UnsupportedVersion, negotiate

__all__ = ["PhoenixDialect", "UnsupportedVersion", "negotiate"]
