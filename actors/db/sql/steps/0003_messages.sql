-- The table behind private channels, broadcasts from SQL, and their replay.
-- Partitions are made and dropped by the server, one a day (UTC).
-- Source: spec 4.4.

do $$
begin
  if to_regclass('realtime.messages') is null then
    create table realtime.messages (
      topic text not null,
      extension text not null,
      payload jsonb,
      event text,
      private boolean default false,
      updated_at timestamp not null default (now() at time zone 'utc'),
      inserted_at timestamp not null default (now() at time zone 'utc'),
      id uuid not null default gen_random_uuid(),
      binary_payload bytea,
      primary key (id, inserted_at),
      constraint messages_payload_exclusive check (payload is null or binary_payload is null)
    ) partition by range (inserted_at);
    alter table realtime.messages enable row level security;
    -- Row security decides; without a policy only who bypasses it may.
    grant select, insert, update on realtime.messages to anon, authenticated, service_role;
    create index messages_inserted_at_topic_idx on realtime.messages (inserted_at desc, topic)
      where extension = 'broadcast' and private;
  end if;
end
$$;
