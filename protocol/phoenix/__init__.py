"""The Supabase dialect: Phoenix Channels with the events of Supabase Realtime."""
