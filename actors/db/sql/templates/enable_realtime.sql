-- Let clients follow a table: add it to the publication, and give it a trigger for databases without logical replication.
-- With the caller's rights: those of the table's owner, who may alter the publication as well.
create or replace function <function>(
  schema_name text,
  table_name text,
  full_identity boolean default false,
  publication text default <publication>
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  target record;
  part oid;
  stem text := table_name;
  trigger_name text := table_name || '_notify_change';
  existing text;
  place text;
  is_needed boolean;
begin
  select class.oid, class.relkind, pg_has_role(class.relowner, 'USAGE') as is_owned into target
    from pg_class as class join pg_namespace as namespace on namespace.oid = class.relnamespace
    where namespace.nspname = schema_name and class.relname = table_name;
  if target.oid is null then
    raise undefined_table using message = format('relation "%s.%s" does not exist', schema_name, table_name);
  end if;
  if target.relkind not in ('r', 'p') then
    raise wrong_object_type using message = format('"%s.%s" is not a table', schema_name, table_name);
  end if;
  if not target.is_owned then
    raise insufficient_privilege using message = format('must be owner of table %s', table_name);
  end if;
  -- Two that enable the same table would trip over each other.
  perform pg_advisory_xact_lock(<lock>, 0);

  if not exists (select from pg_publication where pubname = publication and puballtables)
    and not exists (
      select from pg_publication_rel join pg_publication on pg_publication.oid = prpubid
      where pubname = publication and prrelid = target.oid)
    and not exists (
      select from pg_publication_tables
      where pubname = publication and schemaname = schema_name and tablename = table_name)
  then
    execute format('alter publication %I add table only %I.%I', publication, schema_name, table_name);
  end if;
  -- Else its rows would come under the names of the partitions, which nobody subscribes to.
  if target.relkind = 'p' and not (select pubviaroot from pg_publication where pubname = publication) then
    execute format('alter publication %I set (publish_via_partition_root = true)', publication);
  end if;
  for part in
    select class.oid from pg_class as class
    where class.oid in (select target.oid union select relid from pg_partition_tree(target.oid))
    and class.relkind in ('r', 'p') and class.relreplident <> 'f'
    -- Without an identity its updates and deletes would fail from now on.
    and (full_identity or not exists (
      select from pg_index as index
      where index.indrelid = class.oid and index.indimmediate and case class.relreplident
        when 'd' then index.indisprimary when 'i' then index.indisreplident else false end))
  loop
    execute format('alter table %s replica identity full', part::regclass);
  end loop;

  -- A name has 63 bytes; a longer one would lose the ending that tells what it is.
  while octet_length(trigger_name) > 63 loop
    stem := left(stem, -1);
    trigger_name := stem || '_notify_change';
  end loop;
  place := target.oid::regclass::text;
  -- One that tells of every change is enough, whatever it is called: of two, each change would come twice.
  select trigger.tgname into existing from pg_trigger as trigger
    where trigger.tgrelid = target.oid and not trigger.tgisinternal
    and trigger.tgtype = 29 and trigger.tgqual is null and cardinality(trigger.tgattr::int2[]) = 0
    and trigger.tgfoid = to_regprocedure('realtime.notify_table_change()')
    order by trigger.tgname <> trigger_name limit 1;
  if existing is not null then
    trigger_name := existing;
  elsif not exists (select from pg_trigger where tgrelid = target.oid and tgname = trigger_name) then
    execute format(
      'create trigger %I after insert or update or delete on %s for each row'
      ' execute function realtime.notify_table_change()', trigger_name, place);
  end if;
  -- While the log is read instead, the trigger is there to be listed and does nothing.
  is_needed := current_setting('wal_level') <> 'logical' or exists (
    select from pg_locks join pg_database on pg_database.oid = pg_locks.database
    where datname = current_database() and locktype = 'advisory'
    and classid = <lock> and objid = 1 and objsubid = 2 and granted);
  if exists (
    select from pg_trigger where tgrelid = target.oid and tgname = trigger_name
    and tgfoid = to_regprocedure('realtime.notify_table_change()') and is_needed = (tgenabled = 'D')
  ) then
    execute format('alter table %s %s trigger %I', place,
      case when is_needed then 'enable' else 'disable' end, trigger_name);
  end if;
end
$$;
<access>
