-- Until when a stored broadcast may be replayed, if its sender said so.
-- Only in a table of our own: one that came with a Supabase stack stays as it is, and there a ttl is ignored.

do $$
begin
  if to_regclass('realtime.schema_migrations') is null then
    alter table realtime.messages add column if not exists replay_until timestamp;
  end if;
end
$$;
