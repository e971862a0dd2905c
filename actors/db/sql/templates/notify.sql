-- Tell of a changed row on the channel <channel>; the size of a row never fails the statement that changes it.
-- With the caller's rights, and nothing is called that somebody who may write might not call.
-- The settings decide how values are written; the server knows these forms only.
create or replace function <function>() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp
  set timezone = 'UTC'
  set datestyle = 'ISO'
  set intervalstyle = 'postgres'
  set extra_float_digits = 1
  set bytea_output = 'hex'
  set quote_all_identifiers = off
as $$
declare
  most_bytes constant int := 7999;
  -- Postgres delivers equal payloads of one transaction once, so each has another number.
  counted int := coalesce(nullif(current_setting('realtime.change_number', true), ''), '0')::int + 1;
  about text;
  payload text;
  members text;
  old_record json;
  new_record json;
begin
  perform set_config('realtime.change_number', counted::text, true);
  about := json_build_object(
    'schema', tg_table_schema, 'table', tg_table_name, '<event>', tg_op,
    'timestamp', extract(epoch from clock_timestamp()),
    'transaction', pg_current_xact_id()::text, 'number', counted, 'trigger', tg_name)::text;
  if tg_nargs = 0 then
    if tg_op <> 'INSERT' then
      old_record := row_to_json(old);
    end if;
    if tg_op <> 'DELETE' then
      new_record := row_to_json(new);
    end if;
    payload := format('%s, "old_record": %s, "<new>": %s}', left(about, -1),
      coalesce(old_record::text, 'null'), coalesce(new_record::text, 'null'));
  end if;
  -- A larger row is told by its key alone, and so is every row if the trigger has an argument.
  if payload is null or octet_length(payload) > most_bytes then
    select string_agg(format('%L, ($1).%I', attribute.attname, attribute.attname), ', ') into members
      from pg_index as index
      cross join unnest(index.indkey) with ordinality as key(number, place)
      join pg_attribute as attribute on attribute.attrelid = tg_relid and attribute.attnum = key.number
      where index.indrelid = tg_relid and index.indisprimary and key.place <= index.indnkeyatts;
    if tg_op <> 'INSERT' then
      execute format('select json_build_object(%s)', members) into old_record using old;
    end if;
    if tg_op <> 'DELETE' then
      execute format('select json_build_object(%s)', members) into new_record using new;
    end if;
    payload := format('%s, "is_partial": true, "old_record": %s, "<new>": %s}', left(about, -1),
      coalesce(old_record::text, 'null'), coalesce(new_record::text, 'null'));
  end if;
  if octet_length(payload) > most_bytes then
    payload := left(about, -1) || ', "is_partial": true}';
  end if;
  perform pg_notify('<channel>', payload);
  if tg_op = 'DELETE' then
    return old;
  end if;
  return new;
end
$$;
