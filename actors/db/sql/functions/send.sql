-- Broadcast from SQL; with the caller's rights, so that policies on realtime.messages decide.
-- An error is a warning: a notification that fails must not undo the work it tells of.
-- Source: spec 4.4.
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true)
  returns void language plpgsql as $$
declare
  row_id uuid := gen_random_uuid();
  stamped jsonb;
begin
  if payload is null then
    raise exception 'the payload is null';
  end if;
  if jsonb_typeof(payload) = 'object' and payload ? 'id' then
    stamped := payload;
  else
    stamped := jsonb_set(payload, '{id}', to_jsonb(row_id));
  end if;
  perform set_config('realtime.topic', topic, true);
  insert into realtime.messages (id, payload, event, topic, private, extension)
    values (row_id, stamped, event, topic, private, 'broadcast');
exception when others then
  raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end
$$;
