-- A table to try row changes on, in a database that has been migrated.
-- Run once per database, in one transaction.
-- Source: supabase/realtime, dev/postgres/00-setup.sql (privileges, what is published), read 2026-11-21.

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

alter publication supabase_realtime add table public.messages;
