-- The channels that somebody created over HTTP, and the row changes that all their members get.
-- For this server's login role alone: whoever may write here decides who may do what.

do $$
begin
  if to_regclass('realtime.troupe_channels') is null then
    -- json and not jsonb: what was given is told again as it was given.
    create table realtime.troupe_channels (
      name text primary key,
      config json not null,
      is_created boolean not null,
      created_by text not null,
      created_at double precision not null
    );
    create table realtime.troupe_subscriptions (
      id text primary key,
      channel text not null references realtime.troupe_channels on delete cascade,
      wanted json not null,
      user_id text not null,
      created_at double precision not null
    );
    create index troupe_subscriptions_channel_idx on realtime.troupe_subscriptions (channel);
    alter table realtime.troupe_channels enable row level security;
    alter table realtime.troupe_subscriptions enable row level security;
    revoke all on realtime.troupe_channels, realtime.troupe_subscriptions
      from public, anon, authenticated, service_role;
  end if;
end
$$;
