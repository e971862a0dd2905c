-- The topic a policy is asked about: the name of the channel, without prefix.
create or replace function realtime.topic() returns text language sql stable as $$
  select nullif(current_setting('realtime.topic', true), '')
$$;
