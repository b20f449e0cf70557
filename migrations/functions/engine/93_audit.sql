-- What people did with a run, from the audit: the newest 100 lines, the oldest of these first.
-- [{action, who, login, at, details}]; of a retry and a decision, the values that were given are
-- left out: the run itself has them. Null for a run that is not there.
create or replace function pgflow.run_audit(p_run_id uuid, p_limit int default 100) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce((
    select jsonb_agg(jsonb_build_object('action', l.action, 'who', l.who, 'login', l.login,
      'at', l.created_at, 'details', coalesce(l.details, '{}')
        - array['reply', 'request', 'input_before', 'data']
        || case when l.details ? 'input_before' then '{"new_input": true}' else '{}' end::jsonb)
      order by l.id)
    from (
      select a.* from pgflow.audit a where a.subject = p_run_id::text
      order by a.id desc limit least(pgflow._checked_limit(p_limit), 1000)) l), '[]')
  from pgflow.runs r where r.run_id = p_run_id
$$;
