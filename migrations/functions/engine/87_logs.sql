-- What handlers printed and logged, and their progress. Nothing here takes part in a decision.

-- Stores lines and progress of a worker's calls. p_logs: {lines: [{run, step, index, attempt,
-- fence, part, lines: [[epoch in milliseconds, level, logger, text], ...]}], progress: [{run, step,
-- index, fence, done, words}]}. Not fenced: lines of a call that was given up belong to that call.
-- What is about no task, or about one of a queue that the worker may not serve, is dropped. Locks
-- rows of task_progress, which nobody holds for long. Called by turn, with logs, and by write_logs.
create or replace function pgflow._write_logs(p_worker uuid, p_logs jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_granted text[] := (
    select w.granted from pgflow.workers w where w.worker_id = p_worker);
begin
  insert into pgflow.task_logs (run_id, step_slug, task_index, attempt, fence, part, lines, retry)
  select c.run, c.step, c.index, c.attempt, c.fence, c.part, c.lines,
    (select r.retries from pgflow.runs r where r.run_id = t.run_id)
  from jsonb_to_recordset(p_logs -> 'lines') c(
    run uuid, step text, index int, attempt int, fence int, part int, lines jsonb)
  join pgflow.step_tasks t
    on t.run_id = c.run and t.step_slug = c.step and t.task_index = c.index
  where v_granted is null or t.queue_name = any(v_granted);
  insert into pgflow.task_progress as g (
    run_id, step_slug, task_index, fence, done, words, at)
  select c.run, c.step, c.index, c.fence, least(greatest(c.done, 0), 1), c.words, pgflow.clock()
  from jsonb_to_recordset(p_logs -> 'progress') c(
    run uuid, step text, index int, fence int, done double precision, words text)
  join pgflow.step_tasks t
    on t.run_id = c.run and t.step_slug = c.step and t.task_index = c.index
  where v_granted is null or t.queue_name = any(v_granted)
  order by c.run, c.step, c.index
  on conflict (run_id, step_slug, task_index) do update
    set fence = excluded.fence, done = excluded.done, words = excluded.words, at = excluded.at
    where g.fence <= excluded.fence;
end
$$;

-- Stores what calls that go on have printed: see _write_logs. Raises what _check_login raises.
create or replace function pgflow.write_logs(p_worker uuid, p_logs jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgflow._check_login(p_worker);
  perform pgflow._write_logs(p_worker, p_logs);
end
$$;

-- The ids of the rows of a run's log that match: the newest first, or with p_after the oldest. The
-- index leads to the rows of each step. (Planned for each call: the order is a part of the text,
-- and most filters are null.)
create or replace function pgflow._log_ids(
  p_run pgflow.runs, p_steps text[], p_index int, p_attempt int, p_failed boolean, p_after bigint,
  p_seen bigint[], p_limit int
) returns bigint[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  execute replace($query$
    select array(
      select x.id
      from pgflow.steps s
      cross join lateral (
        select l.id from pgflow.task_logs l
        where l.run_id = $2 and l.step_slug = s.step_slug and l.id > coalesce($7, 0)
          and l.id <> all($8) and ($4 is null or l.task_index = $4)
          and ($5 is null or l.attempt = $5)
          and (not $6 or exists (
            select 1 from pgflow.step_tasks t
            where t.run_id = l.run_id and t.step_slug = l.step_slug
              and t.task_index = l.task_index and t.status = 'failed'
              and t.attempts_count = l.fence))
        order by l.id direction limit $9) x
      where s.flow_slug = $1 and ($3 is null or s.step_slug = any($3))
        and (not $6 or exists (
          select 1 from pgflow.step_tasks t
          where t.run_id = $2 and t.step_slug = s.step_slug and t.status = 'failed'))
      order by x.id direction limit $9)
    $query$, 'direction', case when p_after is null then 'desc' else 'asc' end)
  into v_ids
  using p_run.flow_slug, p_run.run_id, p_steps, p_index, p_attempt, p_failed, p_after, p_seen,
    p_limit;
  return v_ids;
end
$$;

-- The lines of a row that are of one of these levels and not older than a moment; all with nulls.
-- Null for none. (Compared as JSON: other elements are left out.)
create or replace function pgflow._matching_lines(
  p_lines jsonb, p_levels text[], p_since timestamptz
) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_agg(x.line order by x.nr)
  from jsonb_array_elements(p_lines) with ordinality x(line, nr)
  where jsonb_typeof(x.line -> 0) = 'number' and jsonb_typeof(x.line -> 3) = 'string'
    and (p_levels is null or x.line ->> 1 = any(p_levels))
    and (p_since is null or x.line -> 0 >= to_jsonb(floor(extract(epoch from p_since) * 1000)))
$$;

-- The log of a run: {status, last, rows: [{id, step, index, map, retry, attempt, fence, part,
-- lines}]}, as many rows as it takes for p_limit lines; last is the greatest id that was read, also
-- if none of its lines match. Without p_after the newest rows; with it the oldest ones that have a
-- greater id and are not in p_seen. p_failed: the last attempt of each task that failed. Null for
-- an unknown run. Raises PF006 for a limit or a time back that is none.
create or replace function pgflow.run_logs(
  p_run_id uuid, p_steps text[] default null, p_index int default null,
  p_attempt int default null, p_failed boolean default false, p_levels text[] default null,
  p_since interval default null, p_after bigint default null, p_seen bigint[] default '{}',
  p_limit int default 1000
) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs;
  v_since timestamptz := pgflow.clock() - pgflow._checked_age(p_since);
  v_limit int := pgflow._checked_limit(p_limit);
  v_id bigint;
  v_last bigint;
  v_row record;
  v_rows jsonb[] := '{}';
  v_count int := 0;
begin
  select r.* into v_run from pgflow.runs r where r.run_id = p_run_id;
  if v_run.run_id is null then
    return null;
  end if;
  foreach v_id in array pgflow._log_ids(
    v_run, p_steps, p_index, p_attempt, p_failed, p_after, p_seen,
    -- where lines are filtered, a row may have none of them
    case when p_levels is null and p_since is null then v_limit else 100000 end)
  loop
    exit when v_count >= v_limit;
    v_last := greatest(v_last, v_id);
    select l.id, l.step_slug as step, l.task_index as index, s.step_type = 'map' as map, l.retry,
      l.attempt, l.fence, l.part, pgflow._matching_lines(l.lines, p_levels, v_since) as lines
    into v_row
    from pgflow.task_logs l
    join pgflow.steps s on s.flow_slug = v_run.flow_slug and s.step_slug = l.step_slug
    where l.id = v_id;
    continue when v_row.lines is null;
    v_rows := v_rows || to_jsonb(v_row);
    v_count := v_count + jsonb_array_length(v_row.lines);
  end loop;
  return jsonb_build_object(
    'status', v_run.status, 'last', v_last, 'rows', to_jsonb(v_rows));
end
$$;

-- For each step of a run with calls that have reported progress and go on, the latest report.
create or replace function pgflow._progress(p_run_id uuid)
returns table (step_slug text, progress jsonb)
language sql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  select distinct on (g.step_slug) g.step_slug, jsonb_build_object(
    'index', g.task_index, 'done', g.done, 'text', g.words, 'at', g.at)
  from pgflow.task_progress g
  join pgflow.step_tasks t
    on t.run_id = g.run_id and t.step_slug = g.step_slug and t.task_index = g.task_index
  where g.run_id = p_run_id and t.status = 'started' and t.attempts_count = g.fence
  order by g.step_slug, g.at desc
$$;

-- Steps of a snapshot; those with an error get `log`, the last five lines of the task that failed
-- last: [[epoch in milliseconds, level, logger, text], ...]. They are among the 1,000 newest rows.
create or replace function pgflow._with_last_lines(p_run_id uuid, p_steps jsonb) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(case
    when jsonb_typeof(s.step -> 'error') = 'null' then s.step
    else s.step || jsonb_build_object('log', coalesce((
      select jsonb_agg(n.line order by n.fence, n.part, n.nr)
      from (
        select x.line, x.nr, l.fence, l.part
        from (
          select distinct on (k.fence, k.part) k.fence, k.part, k.lines
          from (
            select m.* from pgflow.task_logs m
            where m.run_id = p_run_id and m.step_slug = s.step ->> 'slug'
            order by m.id desc limit 1000) k
          where k.task_index = (
            select e.task_index from pgflow.task_errors e
            where e.run_id = p_run_id and e.step_slug = s.step ->> 'slug'
            order by e.id desc limit 1)
          order by k.fence desc, k.part desc limit 5) l
        cross join lateral jsonb_array_elements(l.lines) with ordinality x(line, nr)
        where jsonb_typeof(x.line -> 0) = 'number' and jsonb_typeof(x.line -> 3) = 'string'
        order by l.fence desc, l.part desc, x.nr desc limit 5) n), '[]')) end
    order by s.nr), '[]')
  from jsonb_array_elements(p_steps) with ordinality s(step, nr)
$$;
