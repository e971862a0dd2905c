-- What the stream follows: the tables of the application, and the messages to be broadcast.
-- Source: spec 4.4 and 11 for the names.

do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime with (publish = 'insert, update, delete');
  end if;
  if not exists (select from pg_publication where pubname = 'supabase_realtime_messages_publication') then
    -- Through the root, so that a partition made tomorrow is no new table to the stream.
    create publication supabase_realtime_messages_publication for table realtime.messages
      with (publish = 'insert', publish_via_partition_root = true);
  end if;
end
$$;
