-- The schema of everything that applications call by the name of realtime.

do $$
begin
  if to_regnamespace('realtime') is null then
    create schema realtime;
    grant usage on schema realtime to anon, authenticated, service_role;
  end if;
end
$$;
