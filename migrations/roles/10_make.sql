-- The roles of pgflow-yaml. Nobody logs in as one of them: a login is made a member. In a new
-- database the tables and functions then belong to pgflow_owner; elsewhere the owner stays.
do $$
declare
  v_role text;
begin
  foreach v_role in array array[
    'pgflow_owner', 'pgflow_deployer', 'pgflow_worker', 'pgflow_client', 'pgflow_reader']
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
      begin
        execute pg_catalog.format('create role %I nologin', v_role);
      exception when duplicate_object or unique_violation then
        null; -- made for another database at the same time
      end;
    end if;
  end loop;
  if pg_catalog.to_regnamespace('pgflow') is null then
    if not pg_catalog.pg_has_role('pgflow_owner', 'member') then
      execute 'grant pgflow_owner to current_user';
    end if;
    if pg_catalog.to_regnamespace('pgmq') is not null then
      execute 'grant usage, create on schema pgmq to pgflow_owner';
      execute 'grant all on all tables in schema pgmq to pgflow_owner';
      execute 'grant all on all sequences in schema pgmq to pgflow_owner';
      execute 'grant execute on all functions in schema pgmq to pgflow_owner';
    end if;
    execute pg_catalog.format(
      'grant create on database %I to pgflow_owner', pg_catalog.current_database());
    perform pg_catalog.set_config('role', 'pgflow_owner', true);
  end if;
end
$$;
