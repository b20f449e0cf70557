-- What people see: lists and details, the same for the command line, the API and a person in psql. All times are
-- UTC. Nothing here locks.

-- The child runs of a run's steps: all their ids, what there is to say about one of them (one that goes on before one
-- that has failed before others; the newest), and the events that live runs below a step wait for, five at most.
-- (`offset 0` and `is not null`: children are found by the index of their parents, not among all live runs.)
create or replace function pgflow._child_snapshots(p_run_id uuid)
returns table (parent_step text, ids jsonb, child jsonb, awaited jsonb)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select k.parent_step, k.ids,
    (select jsonb_build_object('id', r.run_id, 'flow', coalesce(r.flow_name, r.flow_slug),
       'version', nullif(split_part(r.flow_slug, '__', 2), ''), 'index', r.parent_index, 'status', r.status, 'outcome', r.outcome,
       'error', r.error, 'steps', (
         select jsonb_build_object('total', count(*), 'completed', count(*) filter (where s.status = 'completed'))
         from pgflow.step_states s where s.run_id = r.run_id))
     from pgflow.runs r where r.run_id = k.shown),
    (with recursive live as (
       select r.run_id, r.flow_slug, r.flow_name, r.started_at from pgflow.runs r
       where r.run_id = any(k.live)
       union all
       select r.run_id, r.flow_slug, r.flow_name, r.started_at
       from live l
       cross join lateral (
         select x.* from pgflow.runs x where x.parent_run_id = l.run_id and x.parent_run_id is not null offset 0) r
       where r.status = 'started'
     )
     select coalesce(jsonb_agg(jsonb_build_object('run_id', w.run_id, 'flow', w.flow, 'step', w.step_slug, 'event', w.event,
                                                  'until', w.wakes_at)), '[]')
     from (select l.run_id, coalesce(l.flow_name, l.flow_slug) as flow, s.step_slug, d.spec #>> '{wait,event}' as event, s.wakes_at
           from (select x.* from live x limit 1000) l
           join pgflow.steps d on d.flow_slug = l.flow_slug and d.action = 'wait' and d.spec -> 'wait' ? 'event'
           join pgflow.step_states s on s.run_id = l.run_id and s.step_slug = d.step_slug and s.status = 'started'
           order by s.started_at, l.run_id, d.step_index limit 5) w)
  from (
    select c.parent_step, jsonb_agg(c.run_id order by c.parent_index, c.started_at, c.run_id) as ids,
      array_agg(c.run_id) filter (where c.status = 'started') as live,
      (array_agg(c.run_id order by c.status = 'started' desc, c.status = 'failed' desc, c.started_at desc, c.run_id))[1] as shown
    from pgflow.runs c where c.parent_run_id = p_run_id and c.parent_run_id is not null group by c.parent_step
  ) k
$$;

-- Who ended a wait for an event, or has decided before it: the first word about the step, unless it came after the
-- wait had failed by itself.
create or replace function pgflow._answer(p_run_id uuid, p_step text, p_event text, p_failed_at timestamptz) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select jsonb_build_object('kind', e.kind, 'approved', case e.kind when 'decision' then e.data -> 'approved' end,
    'by', e.said_by, 'at', e.created_at, 'comment', case e.kind when 'decision' then e.data -> 'comment' end)
  from pgflow._said(p_run_id, p_step, p_event, p_failed_at) e where e.kind is not null
$$;

-- Who works for the steps of a run: for each queue of theirs, how many workers that were heard of in the last minute
-- serve it. For people who ask why nothing happens. (The time in a query of its own: a volatile one serves no index, and
-- the rows of workers stay.)
create or replace function pgflow.run_workers(p_run_id uuid) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(q.queue_name, (
    select count(*) from pgflow.workers w
    where w.stopped_at is null and w.last_heartbeat_at > (select pgflow.clock() - interval '1 minute')
      and (w.queue_name = '*' or q.queue_name = any(string_to_array(w.queue_name, ','))))), '{}')
  from (select distinct d.queue_name
        from pgflow.runs r join pgflow.steps d on d.flow_slug = r.flow_slug and d.action = 'handler'
        where r.run_id = p_run_id) q
$$;

-- The steps of a run as a snapshot shows them, in their order; each part is read once for the whole run and
-- joined by hash (nobody knows the size of the parts when this is planned). Tasks that a wide map has not made yet
-- count as queued.
create or replace function pgflow._step_snapshots(p_run pgflow.runs, p_items boolean, p_outputs boolean) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with tasks as materialized (
    select k.step_slug, max(k.attempts_count - k.uncounted) as attempts, sum(k.crashes_count) as crashes,
      count(*) filter (where k.status = 'queued') as queued, count(*) filter (where k.status = 'started') as started,
      count(*) filter (where k.status = 'completed') as completed, count(*) filter (where k.status = 'failed') as failed,
      count(*) filter (where k.status in ('cancelled', 'skipped')) as cancelled,
      case when p_items then jsonb_agg(k.status order by k.task_index) end as items, max(k.iteration) as iteration,
      min(k.message_id) filter (where k.status = 'queued' and k.iteration > 0) as next_call, min(k.refused_at) as refused_at
    from pgflow.step_tasks k where k.run_id = p_run.run_id group by k.step_slug
  ), states as materialized (
    select s.*, d.step_index, d.handler, d.step_type, d.when_exhausted, d.spec, d.action, d.is_finally, d.queue_name, d.max_parallel,
      greatest(coalesce(d.opt_max_attempts, f.opt_max_attempts), 1) as max_attempts
    from pgflow.flows f
    join pgflow.steps d on d.flow_slug = f.flow_slug
    join pgflow.step_states s on s.run_id = p_run.run_id and s.step_slug = d.step_slug
    where f.flow_slug = p_run.flow_slug
  ), edges as materialized (
    select d.step_slug, jsonb_agg(d.dep_slug order by x.step_index) as depends_on, jsonb_object_agg(d.dep_slug, d.edge) as edges,
      jsonb_agg(d.dep_slug order by x.step_index) filter (where x.status in ('created', 'started')) as waiting_for
    from pgflow.deps d join states x on x.step_slug = d.dep_slug
    where d.flow_slug = p_run.flow_slug group by d.step_slug
  ), latest as materialized (
    select distinct on (l.step_slug) l.step_slug, l.retry_at,
      jsonb_build_object('type', l.type, 'message', l.message, 'attempts', l.attempt) as error
    from pgflow.task_errors l where l.run_id = p_run.run_id order by l.step_slug, l.id desc
  ), children as materialized (
    select c.* from pgflow._child_snapshots(p_run.run_id) c
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'slug', s.step_slug, 'index', s.step_index, 'status', w.status, 'skip_reason', s.skip_reason, 'handler', s.handler,
    'action', s.action, 'flow', s.spec -> 'flow', 'finally', s.is_finally, 'waits', w.waits,
    'map', s.step_type = 'map', 'when_exhausted', s.when_exhausted, 'max_attempts', s.max_attempts,
    'max_parallel', s.max_parallel, 'tolerate', s.spec -> 'tolerate', 'repeat', (s.spec -> 'repeat') - 'until',
    'queue', case s.action when 'handler' then s.queue_name end,
    'depends_on', coalesce(e.depends_on, '[]'), 'edges', coalesce(e.edges, '{}'),
    'waiting_for', case s.status when 'created' then coalesce(e.waiting_for, '[]') else '[]' end,
    'attempts', coalesce(t.attempts, 0), 'crashes', coalesce(t.crashes, 0), 'iteration', coalesce(t.iteration, 0), 'started_at', s.started_at,
    'ended_at', coalesce(s.completed_at, s.failed_at, s.skipped_at, s.cancelled_at),
    'output', case when p_outputs then s.output end,
    'error', coalesce(s.error, case s.status when 'started' then l.error end),
    'retry_at', case when s.status = 'started' and t.queued > 0 then n.due_at end, 'refused_at', t.refused_at,
    'tasks', jsonb_build_object('total', coalesce(s.initial_tasks, 0),
      'queued', coalesce(t.queued, 0) + case s.status when 'started' then s.initial_tasks - s.made else 0 end,
      'started', coalesce(t.started, 0), 'completed', coalesce(t.completed, 0), 'failed', coalesce(t.failed, 0),
      'cancelled', coalesce(t.cancelled, 0)),
    'answer', case when s.action = 'wait' then
      pgflow._answer(s.run_id, s.step_slug, s.spec #>> '{wait,event}', coalesce(s.failed_at, s.skipped_at)) end,
    'children', coalesce(c.ids, '[]'), 'child', c.child, 'awaited', coalesce(c.awaited, '[]'))
    || case when p_items and s.step_type = 'map' then jsonb_build_object('items', coalesce(t.items, '[]')) else '{}' end
    order by s.step_index), '[]')
  from states s
  left join tasks t on t.step_slug = s.step_slug
  left join edges e on e.step_slug = s.step_slug
  left join latest l on l.step_slug = s.step_slug
  left join children c on c.parent_step = s.step_slug and s.action = 'flow'
  cross join lateral (
    select case when k.waits is null then s.status else 'waiting' end as status, k.waits
    from (select case
      when s.status <> 'started' then null
      when s.action = 'wait' then jsonb_build_object('kind', case when s.spec -> 'wait' ? 'event' then 'event' else 'timer' end,
        'event', s.spec #> '{wait,event}', 'until', s.wakes_at)
      when s.action = 'flow' and t.started > 0 then jsonb_build_object('kind', 'child', 'event', null, 'until', null)
    end as waits) k) w
  cross join lateral (
    select max(x.due_at) as due_at
    from (values (l.retry_at), (case when t.attempts = 0 then
            s.started_at + (s.spec ->> 'start_delay_ms')::bigint * interval '1 ms' end),
            (case when t.next_call is not null then pgflow._queue_due(s.queue_name, t.next_call) end)) x(due_at)
    where x.due_at > pgflow.clock()) n
$$;

-- One run with its steps, as `show --json` prints it. p_items adds the status of each map task; p_after_error gives
-- only errors with a greater id; p_outputs false leaves outputs out, for views that are drawn often. Null: no such run.
create or replace function pgflow.run_snapshot(
  p_run_id uuid, p_items boolean default false, p_after_error bigint default 0, p_outputs boolean default true
) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'run', jsonb_build_object(
      'id', r.run_id, 'flow', coalesce(r.flow_name, r.flow_slug), 'version', nullif(split_part(r.flow_slug, '__', 2), ''),
      'status', r.status, 'input', r.input, 'output', case when p_outputs then r.output end, 'error', r.error,
      'key', r.run_key, 'labels', coalesce(r.labels, '{}'), 'outcome', r.outcome,
      'parent', case when r.parent_run_id is not null then
        jsonb_build_object('id', r.parent_run_id, 'step', r.parent_step, 'index', r.parent_index) end,
      'created_at', r.started_at, 'started_at', r.started_at,
      'ended_at', coalesce(r.completed_at, r.failed_at, r.cancelled_at)),
    'now', pgflow.clock(),
    'steps', pgflow._step_snapshots(r, p_items, p_outputs),
    'errors', (
      select coalesce(jsonb_agg(jsonb_build_object('id', e.id, 'step', e.step_slug, 'index', e.task_index, 'attempt', e.attempt,
        'type', e.type, 'message', e.message, 'trace', e.trace, 'at', e.created_at, 'final', e.final,
        'retry_at', e.retry_at) order by e.id), '[]')
      from (select x.* from pgflow.task_errors x where x.run_id = r.run_id and x.id > p_after_error
            order by x.id limit 200) e))
  from pgflow.runs r
  where r.run_id = p_run_id
$$;

-- Runs, newest first; null filters match all, p_labels those that have all of these. Read in the order of their start,
-- so that it ends with the limit or with p_since, whatever the planner thinks of the filters.
create or replace function pgflow.list_runs(
  p_flow text default null, p_status text default null, p_since interval default null, p_limit int default 20,
  p_labels jsonb default null
) returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', r.run_id, 'flow', coalesce(r.flow_name, r.flow_slug), 'version', nullif(split_part(r.flow_slug, '__', 2), ''),
    'status', r.status, 'key', r.run_key, 'labels', coalesce(r.labels, '{}'), 'created_at', r.started_at,
    'outcome', r.outcome, 'parent', case when r.parent_run_id is not null then
      jsonb_build_object('id', r.parent_run_id, 'step', r.parent_step, 'index', r.parent_index) end,
    'ended_at', coalesce(r.completed_at, r.failed_at, r.cancelled_at), 'error', r.error,
    'steps', (select jsonb_build_object('total', count(*), 'completed', count(*) filter (where s.status = 'completed'))
              from pgflow.step_states s where s.run_id = r.run_id)) order by r.started_at desc, r.run_id), '[]')
  from (
    select x.* from pgflow.runs x
    where (p_flow is null or coalesce(x.flow_name, x.flow_slug) = p_flow)
      and (p_status is null or x.status = p_status)
      and x.started_at >= coalesce((select pgflow.clock() - p_since), '-infinity')
      and (p_labels is null or x.labels @> p_labels)
    order by x.started_at desc, x.run_id limit p_limit
  ) r
$$;

-- The runs that a text means: an id, a unique beginning of one (four digits at least), `last`, or a run key; at most
-- five. A beginning is a range of ids, so the primary key serves it.
create or replace function pgflow.find_run(p_text text) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_digits text := replace(lower(p_text), '-', '');
  v_found uuid[];
begin
  if p_text = 'last' then
    v_found := array(select r.run_id from pgflow.runs r order by r.started_at desc, r.run_id limit 1);
  elsif v_digits ~ '^[0-9a-f]{4,32}$' then
    v_found := array(
      select r.run_id from pgflow.runs r
      where r.run_id between rpad(v_digits, 32, '0')::uuid and rpad(v_digits, 32, 'f')::uuid limit 5);
  end if;
  return to_jsonb(array(
    select unnest(coalesce(v_found, '{}'))
    union
    (select r.run_id from pgflow.runs r where r.run_key = p_text limit 5)
    limit 5));
end
$$;

-- How many runs of these flows stand in each status.
create or replace function pgflow._run_counts(p_slugs text[]) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'started', count(*) filter (where r.status = 'started'), 'completed', count(*) filter (where r.status = 'completed'),
    'failed', count(*) filter (where r.status = 'failed'), 'cancelled', count(*) filter (where r.status = 'cancelled'))
  from pgflow.runs r where r.flow_slug = any(p_slugs)
$$;

-- Flows with their active version and how their runs stand.
create or replace function pgflow.list_flows() returns jsonb
language sql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object('name', f.name, 'version', f.active, 'versions', f.versions,
    'description', f.description, 'deployed_at', f.deployed_at, 'runs', pgflow._run_counts(f.slugs)) order by f.name), '[]')
  from (
    select d.name, max(d.version) filter (where d.active) as active, count(*) as versions,
      (array_agg(d.description order by d.active desc, d.created_at desc))[1] as description,
      max(d.created_at) as deployed_at, array_agg(d.flow_slug) as slugs
    from pgflow.definitions d group by d.name
  ) f
$$;

-- The versions of a flow, newest first; raises PF001 for an unknown name.
create or replace function pgflow.list_versions(p_name text) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  if not exists (select 1 from pgflow.definitions d where d.name = p_name) then
    raise exception using errcode = 'PF001', message = format('there is no flow "%s" in this database', p_name);
  end if;
  return (
    select jsonb_agg(jsonb_build_object('version', d.version, 'active', d.active, 'created_at', d.created_at,
      'created_by', d.created_by, 'git', d.git, 'runs', c.counts, 'live', c.counts -> 'started')
      order by d.created_at desc, d.version)
    from pgflow.definitions d
    cross join lateral (select pgflow._run_counts(array[d.flow_slug]) as counts) c
    where d.name = p_name);
end
$$;

-- The invariants I1 to I8 that rows alone can show: one line for each violation, none when all is well.
create or replace function pgflow.violations() returns table (invariant text, run_id uuid, step_slug text, details text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select 'I1', t.run_id, t.step_slug, format('task %s is %s in a run that has ended', t.task_index, t.status)
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where r.status <> 'started' and t.status in ('queued', 'started')
  union all
  select 'I1', s.run_id, s.step_slug, format('step is %s in a run that has ended', s.status)
  from pgflow.step_states s join pgflow.runs r on r.run_id = s.run_id join pgflow.flows f on f.flow_slug = r.flow_slug
  where r.status <> 'started' and f.door = 'deploy' and s.status in ('created', 'started')
  union all
  select 'I3', s.run_id, s.step_slug, format('remaining_tasks is %s, %s are open', s.remaining_tasks, o.open)
  from pgflow.step_states s
  cross join lateral (
    select s.initial_tasks - count(*) filter (where t.status = 'completed' or t.status = 'failed' and d.soft) as open
    from pgflow.step_tasks t
    join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
    where t.run_id = s.run_id and t.step_slug = s.step_slug) o
  where s.status in ('started', 'completed') and s.remaining_tasks <> o.open
  union all
  select 'I3', s.run_id, s.step_slug, format('remaining_deps is %s, %s are open', s.remaining_deps, o.open)
  from pgflow.step_states s
  cross join lateral (
    select count(*) filter (where x.status not in ('completed', 'skipped', 'failed', 'cancelled')) as open
    from pgflow.deps d join pgflow.step_states x on x.run_id = s.run_id and x.step_slug = d.dep_slug
    where d.flow_slug = s.flow_slug and d.step_slug = s.step_slug) o
  join pgflow.runs r on r.run_id = s.run_id and r.status = 'started'
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  where s.status = 'created' and s.remaining_deps <> o.open + (d.is_finally and d.deps_count = 0)::int
  union all
  select 'I3', r.run_id, null, format('remaining_steps is %s, %s are open', r.remaining_steps, o.open)
  from pgflow.runs r
  cross join lateral (
    select count(*) filter (where s.status in ('created', 'started')) as open
    from pgflow.step_states s where s.run_id = r.run_id) o
  where r.status in ('started', 'completed') and r.remaining_steps <> o.open
  union all
  select 'I3', s.run_id, s.step_slug, 'started, but nothing of it is live, waits or is still to be made'
  from pgflow.step_states s
  join pgflow.runs r on r.run_id = s.run_id and r.status = 'started'
  join pgflow.flows f on f.flow_slug = r.flow_slug and f.door = 'deploy'
  join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug and d.action <> 'wait'
  where s.status = 'started' and (s.made >= s.initial_tasks or r.outcome is not null and not d.is_finally)
    and not exists (select 1 from pgflow.step_tasks t
                    where t.run_id = s.run_id and t.step_slug = s.step_slug and t.status in ('queued', 'started'))
  union all
  select 'I3', r.run_id, null, 'goes on, but no step of it is started'
  from pgflow.runs r join pgflow.flows f on f.flow_slug = r.flow_slug and f.door = 'deploy'
  where r.status = 'started'
    and not exists (select 1 from pgflow.step_states s where s.run_id = r.run_id and s.status = 'started')
  union all
  select 'I5', s.run_id, s.step_slug, format('started before %s had ended', x.step_slug)
  from pgflow.step_states s
  join pgflow.deps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  join pgflow.step_states x on x.run_id = s.run_id and x.step_slug = d.dep_slug
  where s.status in ('started', 'completed', 'failed') and x.status in ('created', 'started')
  union all
  select 'I6', s.run_id, s.step_slug, format('%s items, but another number of outputs', s.initial_tasks)
  from pgflow.step_states s join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
  where s.status = 'completed' and d.step_type = 'map'
    and case jsonb_typeof(s.output) when 'array' then jsonb_array_length(s.output) end is distinct from s.initial_tasks
  union all
  select 'I7', t.run_id, t.step_slug, format('task %s: %s attempts counted, %s crashes', t.task_index, t.attempts_count - t.uncounted, t.crashes_count)
  from pgflow.step_tasks t
  join pgflow.flows f on f.flow_slug = t.flow_slug and f.door = 'deploy'
  join pgflow.steps d on d.flow_slug = t.flow_slug and d.step_slug = t.step_slug
  where t.attempts_count - t.uncounted > greatest(d.opt_max_attempts, 1) or t.crashes_count > 5
$$;

-- I2 and I8, which need the queues: live tasks without their message, messages without a live task.
create or replace function pgflow.queue_violations() returns table (invariant text, queue_name text, message_id bigint, details text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue text;
begin
  for v_queue in
    select distinct d.queue_name from pgflow.flows f join pgflow.steps d on d.flow_slug = f.flow_slug where f.door = 'deploy'
  loop
    return query
      select 'I2', v_queue, m.id, 'live task without a message'::text
      from unnest(pgflow._queue_missing(v_queue, array(
        select t.message_id from pgflow.step_tasks t
        join pgflow.step_states s on s.run_id = t.run_id and s.step_slug = t.step_slug
        where t.queue_name = v_queue and t.status in ('queued', 'started') and t.task_index < s.sent))) m(id)
      union all
      select 'I8', v_queue, m.id, 'message without a live task'::text
      from unnest(pgflow._queue_task_ids(v_queue)) m(id)
      where not exists (select 1 from pgflow.step_tasks t where t.queue_name = v_queue and t.message_id = m.id
                        and t.status in ('queued', 'started'));
  end loop;
  return query
    select 'I2', t.queue_name, t.message_id, 'child run has ended, but nothing tells its step'::text
    from pgflow.step_tasks t
    join pgflow.runs p on p.run_id = t.run_id and p.status = 'started'
    left join pgflow.runs c on c.run_id = t.child_run_id
    where t.queue_name = 'pgflow__clock' and t.status = 'started' and c.status is distinct from 'started'
      and t.child_run_id not in (select n from pgflow._queue_told() n);
  return query
    select 'I8', 'pgflow__clock', n.msg_id, 'message of a run that is not there'::text
    from pgflow._queue_notes() n where not exists (select 1 from pgflow.runs r where r.run_id = n.run_id);
end
$$;
