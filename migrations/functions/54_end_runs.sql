-- Ending runs: completed when no step is left, failed or cancelled at once with all that was live. Called by somebody
-- who holds the runs.

-- Counts runs down by the steps that ended; those at 0 are completed, with the outputs of their leaf steps. The caller
-- holds the runs and knows that they have not ended (no status in the `where`: a plan that finds the few runs it
-- wants among all live ones grows with them). Arrays are parallel.
create or replace function pgflow._end_steps(p_runs uuid[], p_steps int[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.runs r
  set remaining_steps = r.remaining_steps - e.steps,
      status = case when r.remaining_steps = e.steps then 'completed' else r.status end,
      completed_at = case when r.remaining_steps = e.steps then greatest(pgflow.now(), r.started_at) end,
      output = case when r.remaining_steps = e.steps then coalesce((
          select jsonb_object_agg(s.step_slug, s.output)
          from pgflow.step_states s
          where s.run_id = r.run_id and s.status = 'completed'
            and not exists (select 1 from pgflow.deps d where d.flow_slug = s.flow_slug and d.dep_slug = s.step_slug)),
        (select '{}'::jsonb from pgflow.flows f where f.flow_slug = r.flow_slug and f.door = 'deploy')) end
  from unnest(p_runs, p_steps) e(run_id, steps)
  where r.run_id = e.run_id;
end
$$;

-- Ends runs as failed, each by the first of its failures. The caller holds them.
create or replace function pgflow._fail_runs(p_failures pgflow._failure[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runs uuid[];
  v_errors jsonb[];
begin
  select array_agg(f.run_id), array_agg(f.error) into v_runs, v_errors
  from (select distinct on (u.run_id) u.* from unnest(p_failures) with ordinality u(run_id, step_slug, error, nr)
        order by u.run_id, u.nr) f;
  perform pgflow._end_runs(v_runs, 'failed', v_errors);
  perform pgflow._tell_failures(p_failures);
end
$$;

-- Ends runs as failed or cancelled: live tasks are cancelled, their messages go, workers hear of it at their next
-- call. Steps of deployed flows that had not ended are cancelled too; those of pgflow's door stay as they are, as
-- there. The caller holds the runs; arrays are parallel.
create or replace function pgflow._end_runs(p_runs uuid[], p_status text, p_errors jsonb[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_done pgflow._done[] := pgflow._end_tasks(p_runs, null, 'cancelled');
begin
  update pgflow.step_states s
  set status = 'cancelled', cancelled_at = v_now
  from pgflow.flows f
  where s.run_id = any(p_runs) and s.status in ('created', 'started')
    and f.flow_slug = s.flow_slug and f.door = 'deploy';
  update pgflow.runs r
  set status = p_status, error = e.error,
      failed_at = case p_status when 'failed' then greatest(v_now, r.started_at) end,
      cancelled_at = case p_status when 'cancelled' then v_now end,
      remaining_steps = (select count(*) from pgflow.step_states s
                         where s.run_id = r.run_id and s.status not in ('completed', 'skipped'))
  from unnest(p_runs, p_errors) e(run_id, error)
  where r.run_id = e.run_id;
  perform pgflow._drop_messages(v_done);
end
$$;
