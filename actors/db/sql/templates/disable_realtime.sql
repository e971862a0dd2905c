-- Let nobody follow a table any more: take it out of the publication, and drop the triggers that tell of its rows.
-- With the caller's rights: those of the table's owner, who may alter the publication as well.
create or replace function <function>(
  schema_name text,
  table_name text,
  publication text default <publication>
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  target record;
  told text;
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
  perform pg_advisory_xact_lock(<lock>, 0);

  if exists (
    select from pg_publication_rel join pg_publication on pg_publication.oid = prpubid
    where pubname = publication and prrelid = target.oid
  ) then
    execute format('alter publication %I drop table only %I.%I', publication, schema_name, table_name);
  end if;
  if exists (
    select from pg_publication_tables
    where pubname = publication and schemaname = schema_name and tablename = table_name
  ) then
    raise object_not_in_prerequisite_state using
      message = format('table %s is published with all tables or with its schema', table_name),
      hint = format('Let publication %s name its tables one by one.', publication);
  end if;
  for told in
    select tgname from pg_trigger join pg_proc on pg_proc.oid = tgfoid
    where tgrelid = target.oid and not tgisinternal and tgparentid = 0
    and proname in ('notify_table_change', 'notify_table_changes', 'notify_realtime_change')
  loop
    execute format('drop trigger %I on %s', told, target.oid::regclass);
  end loop;
end
$$;
<access>
