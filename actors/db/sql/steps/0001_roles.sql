-- The three roles of a Supabase project; the login role has to be able to become each of them.
-- Source: supabase/postgres, the roles that tokens name and their attributes, read 2026-11-21.

do $$
declare
  wanted text;
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
  foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
    if not pg_has_role(current_user, wanted, 'member') then
      execute format('grant %I to %I', wanted, current_user);
    end if;
  end loop;
end
$$;
