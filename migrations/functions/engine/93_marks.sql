-- Marks of runs: who watches runs compares them, and reads only the runs whose mark has changed.

-- {run: mark}, of 1,000 runs at most; a run that is not in the database has none. A mark changes
-- with every change of the run that its page shows: of the run, of its steps, of the attempts and
-- children of a step that goes on, of its errors, its progress and its log, of which lines come
-- after the end of their step, and with each signal, which may come before its step is reached. It
-- does not change by itself as time passes, nor with a lease, nor with what other runs and workers
-- do; a child run has a mark of its own.
--
-- A row of the run and of a step counts by the transaction that wrote it: nothing is written there
-- that does not show. The leases of tasks do not show, so of tasks the columns count that do, but
-- not of steps with more than 1,000 tasks, whose counters tell enough.
create or replace function pgflow.run_marks(p_runs uuid[]) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(r.run_id, md5(concat_ws(' ', r.xmin, s.mark, e.last, g.at,
    v.signals, v.last))), '{}')
  from unnest(p_runs[1:1000]) u(run_id)
  join pgflow.runs r on r.run_id = u.run_id
  cross join lateral (
    select string_agg(concat_ws(' ', x.xmin, t.mark, l.last), ',' order by x.step_slug) as mark
    from pgflow.step_states x
    cross join lateral (
      select string_agg(concat_ws(' ', k.status, k.attempts_count, k.uncounted, k.iteration,
        k.child_run_id), ',' order by k.task_index) as mark
      from pgflow.step_tasks k
      where x.status = 'started' and x.initial_tasks <= 1000
        and k.run_id = x.run_id and k.step_slug = x.step_slug) t
    cross join lateral (
      select max(w.id) as last from pgflow.task_logs w
      where w.run_id = x.run_id and w.step_slug = x.step_slug) l
    where x.run_id = r.run_id) s
  cross join lateral (
    select max(k.id) as last from pgflow.task_errors k where k.run_id = r.run_id) e
  cross join lateral ( -- the first of each name stands: none changes
    select count(*) as signals, max(k.created_at) as last
    from pgflow.events k where k.run_id = r.run_id) v
  cross join lateral (
    select max(k.at) as at from pgflow.task_progress k
    where r.status = 'started' and k.run_id = r.run_id) g
$$;
