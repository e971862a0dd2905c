-- What a Supabase project brings with it, and a table to try row changes on.
-- Run once per database, in one transaction; each step may find its result there already.
-- Source: supabase/realtime, dev/postgres/00-setup.sql (role attributes, privileges, what is published), read 2026-11-21.

do $$
begin
  -- Roles belong to the server, not to the database: another database may have made them.
  if to_regrole('anon') is null then
    create role anon nologin noinherit;
  end if;
  if to_regrole('authenticated') is null then
    create role authenticated nologin noinherit;
  end if;
  if to_regrole('service_role') is null then
    create role service_role nologin noinherit bypassrls;
  end if;
end
$$;

grant usage on schema public to anon, authenticated, service_role;
grant all on all tables in schema public to anon, authenticated, service_role;
grant all on all sequences in schema public to anon, authenticated, service_role;
grant all on all routines in schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges in schema public grant all on routines to anon, authenticated, service_role;

-- After the default privileges, so that they apply to it.
create table if not exists public.messages (
  id bigint generated always as identity primary key,
  sender text,
  body text,
  created_at timestamptz not null default now()
);

create publication supabase_realtime for table public.messages with (publish = 'insert, update, delete');
