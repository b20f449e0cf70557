-- S-6: nothing is granted to public; roles/90_grants grants what a role needs. Applied after any
-- other file: a new function may be called by everybody until then.
revoke all on schema pgflow from public;

-- pgmq leaves its functions to everybody, too. Only the owner of an object can revoke: where the
-- extension, or what somebody has put into our schema, belongs to another role, that role decides.
do $$
declare
  v_function regprocedure;
  v_table regclass;
begin
  for v_function in
    select p.oid from pg_catalog.pg_proc p
    where p.pronamespace in ('pgflow'::regnamespace, 'pgmq'::regnamespace)
      and pg_catalog.pg_has_role(p.proowner, 'usage')
      and pg_catalog.has_function_privilege('public', p.oid, 'execute')
  loop
    execute pg_catalog.format('revoke all on routine %s from public', v_function);
  end loop;
  for v_table in
    select distinct c.oid from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
    where c.relnamespace = 'pgflow'::regnamespace
      and pg_catalog.pg_has_role(c.relowner, 'usage')
      and a.grantee = 0
  loop
    execute pg_catalog.format('revoke all on table %s from public', v_table);
  end loop;
end
$$;
