-- An index for replays, which ask for the newest of one topic; the first one had the time before the topic.
-- Partition by partition, and none that is large: nobody shall wait for it to be built, and it is dropped in some days.
-- Only in a table of our own: one that came with a Supabase stack stays as it is: it has none of these indexes.

do $$
declare
  part record;
  is_everywhere boolean := true;
begin
  -- Fails where an earlier step was left out.
  perform 'realtime.messages'::regclass;
  if to_regclass('realtime.schema_migrations') is null and coalesce(
    to_regclass('realtime.messages_inserted_at_topic_idx'),
    to_regclass('realtime.messages_topic_inserted_at_idx')
  ) is not null then
    create index if not exists messages_topic_inserted_at_idx on only realtime.messages (topic, inserted_at desc)
      where extension = 'broadcast' and private;
    for part in
      select class.oid, space.nspname, class.relname, class.relname || '_topic_inserted_at_idx' as index_name,
        class.relkind = 'r' and pg_relation_size(class.oid) < 64 * 1024 * 1024 as is_quick
      from pg_inherits as link join pg_class as class on class.oid = link.inhrelid
      join pg_namespace as space on space.oid = class.relnamespace
      where link.inhparent = 'realtime.messages'::regclass
    loop
      if exists (
        select from pg_inherits as link join pg_index as index on index.indexrelid = link.inhrelid
        where link.inhparent = 'realtime.messages_topic_inserted_at_idx'::regclass and index.indrelid = part.oid
      ) then
        continue;
      end if;
      if not part.is_quick then
        is_everywhere := false;
        continue;
      end if;
      execute format('create index if not exists %I on %I.%I (topic, inserted_at desc)'
        ' where extension = ''broadcast'' and private', part.index_name, part.nspname, part.relname);
      execute format('alter index realtime.messages_topic_inserted_at_idx attach partition %I.%I',
        part.nspname, part.index_name);
    end loop;
    if is_everywhere then
      drop index if exists realtime.messages_inserted_at_topic_idx;
    end if;
  end if;
end
$$;
