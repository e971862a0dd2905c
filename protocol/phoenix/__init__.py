"""The Supabase dialect: Phoenix Channels with the events of Supabase Realtime."""

from protocol.phoenix.codes import error_response
from protocol.phoenix.dialect import PhoenixDialect, UnsupportedVersion, negotiate

