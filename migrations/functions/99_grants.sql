-- S-6: nothing is granted to public; roles/90_grants grants what a role needs. Applied after any
-- other file: a new function may be called by everybody until then.
revoke all on schema pgflow from public;
revoke all on all tables in schema pgflow from public;
revoke all on all functions in schema pgflow from public;

-- pgmq leaves its functions to everybody. Only their owner can revoke them: where the
-- extension belongs to another role, that role decides.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_catalog.pg_proc p
    where p.pronamespace = 'pgmq'::regnamespace
      and pg_catalog.pg_has_role(p.proowner, 'usage')
      and pg_catalog.has_function_privilege('public', p.oid, 'execute')
  loop
    execute pg_catalog.format('revoke all on routine %s from public', v_function);
  end loop;
end
$$;
