-- The ends of steps, of live tasks that no worker will report, and of messages. The callers hold
-- the runs.

-- Ends steps: the one writer of final statuses off the hot path. (`_count_down_steps`,
-- `_lower_dependents` and `_evaluate_ready` end steps as part of a larger update.) A step that has
-- ended already stays as it is; a step without tasks is completed with the times of a started one.
-- The message in the timer queue of a failed or skipped step is left to `_end_tasks`, which drops
-- it. The caller holds the runs. Notes the steps that failed; returns the steps that ended here.
create or replace function pgflow._end_states(p_transitions pgflow._transition[])
returns pgflow._step[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_steps pgflow._step[];
  v_runs uuid[];
  v_failed text[];
begin
  with ended as (
    update pgflow.step_states s
    set status = t.status,
        skip_reason = t.skip_reason,
        output = t.output,
        error = t.error,
        error_message = t.message,
        remaining_tasks = case t.status
          when 'completed' then 0 when 'skipped' then null else s.remaining_tasks end,
        started_at = case t.status
          when 'completed' then coalesce(s.started_at, greatest(v_now, s.created_at))
          else s.started_at end,
        completed_at = case t.status
          when 'completed' then greatest(v_now, s.created_at, s.started_at) end,
        failed_at = case t.status
          when 'failed' then greatest(v_now, s.created_at, s.started_at) end,
        skipped_at = case t.status when 'skipped' then greatest(v_now, s.created_at) end,
        cancelled_at = case t.status when 'cancelled' then v_now end,
        timer_message_id = case when t.status in ('failed', 'skipped') then s.timer_message_id end
    from unnest(p_transitions) t
    where s.run_id = t.run_id and s.step_slug = t.step_slug and s.status in ('created', 'started')
    returning s.run_id, s.flow_slug, s.step_slug, s.status
  )
  select coalesce(array_agg(row(e.run_id, e.flow_slug, e.step_slug)::pgflow._step
                            order by e.run_id, e.step_slug), '{}'),
    array_agg(e.run_id order by e.run_id, e.step_slug) filter (where e.status = 'failed'),
    array_agg(e.step_slug order by e.run_id, e.step_slug) filter (where e.status = 'failed')
  into v_steps, v_runs, v_failed from ended e;
  if v_runs is not null and current_setting('pgflow.ended', true) <> '' then
    perform pgflow._note_ends(v_runs, v_failed);
  end if;
  return v_steps;
end
$$;

-- Ends the live tasks of these runs as cancelled or skipped; p_steps, parallel to p_runs, narrows
-- each to one step, null means all steps. The caller holds the runs; claims hold tasks only briefly
-- and never wait, so waiting for them here is safe. Returns the tasks.
create or replace function pgflow._end_tasks(p_runs uuid[], p_steps text[], p_status text)
returns pgflow._ended_task[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
  v_done pgflow._ended_task[];
  v_children uuid[];
  v_gated boolean;
begin
  with ended as (
    update pgflow.step_tasks t
    set status = p_status, lease = null,
        cancelled_at = case p_status when 'cancelled' then v_now end
    from unnest(p_runs, p_steps) x(run_id, step_slug)
    where t.run_id = x.run_id and (x.step_slug is null or t.step_slug = x.step_slug)
      and t.status in ('queued', 'started')
    returning t.run_id, t.flow_slug, t.step_slug, t.queue_name, t.message_id, t.child_run_id
  ), timers as (
    -- a large map that was still being made, or a wait, has its message in the timer queue
    update pgflow.step_states s set timer_message_id = null
    from unnest(p_runs, p_steps) x(run_id, step_slug)
    join pgflow.step_states old on old.run_id = x.run_id
      and (x.step_slug is null or old.step_slug = x.step_slug)
    where old.timer_message_id is not null and (old.run_id, old.step_slug) = (s.run_id, s.step_slug)
    returning s.run_id, s.flow_slug, s.step_slug, old.timer_message_id
  )
  select coalesce(array_agg(row(a.run_id, a.flow_slug, a.step_slug, a.queue_name, a.message_id,
                                f.origin = 'pgflow')::pgflow._ended_task), '{}'),
         array_agg(a.child_run_id) filter (where a.child_run_id is not null), bool_or(f.gated)
  into v_done, v_children, v_gated
  from (select * from ended union all
        select c.run_id, c.flow_slug, c.step_slug, 'pgflow__timers', c.timer_message_id, null
        from timers c) a
  join pgflow.flows f on f.flow_slug = a.flow_slug;
  if v_children is not null then
    perform pgflow._cancel_children(v_children);
  end if;
  if v_gated then
    perform pgflow._free_slots(p_runs, p_steps, null);
  end if;
  return v_done;
end
$$;

-- Drops the messages of ended tasks, queue by queue. The caller holds the runs.
create or replace function pgflow._drop_messages(p_done pgflow._ended_task[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue record;
begin
  for v_queue in
    select d.queue_name, d.archive, array_agg(d.message_id) as ids
    from unnest(p_done) d where d.message_id is not null group by 1, 2
  loop
    perform pgflow._queue_drop(v_queue.queue_name, v_queue.ids, v_queue.archive);
  end loop;
end
$$;
