-- The claim: tasks for a worker.
--
-- The claim never waits for a lock. Settling goes run -> task -> queue row, a claim comes from the
-- queue row; so a locked row is left alone and becomes visible again in 50 ms. A visible message
-- whose task is started is an expired lease by construction: its worker is dead, and the claim that
-- reads it takes over (R-2).
--
-- A task whose worker died may be the cause. It is taken over beside others once; after a second
-- death it is given in a reply of its own, to a worker that runs nothing else, so that it can take
-- no other task with it again. (Not after the first: the tasks of a machine that was lost would
-- run one by one.)

-- Claims up to p_quantity tasks, queue by queue in the order given: rows to started, attempt + 1,
-- lease. Raises 54000 for tasks that are too large for one reply, of which the caller claims one at
-- a time; a task that is too large alone fails, since it would stand before all others for ever.
--
-- p_options.crashed: whether to give a task that is to run alone: "no", "first" (before all
-- others), without it: where there is no other. p_options.places: what the last reply said. Returns
-- {tasks, contexts, specs}; alone: true with a task that is to run alone; crashed: true where one
-- was not given; and for a worker that lacks handlers places, where to go on in each queue
-- (_choose_messages).
create or replace function pgflow._claim(
  p_worker uuid, p_queues text[], p_quantity int, p_lease interval, p_refused text[],
  p_options jsonb
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue text;
  v_left int := p_quantity;
  v_crashed text := coalesce(p_options ->> 'crashed', 'last');
  v_taken record;
  v_tasks jsonb := '[]';
  v_steps pgflow._step[] := '{}';
  v_contexts jsonb;
  v_more jsonb := '{}';
begin
  if v_crashed = 'first' then
    p_queues := array(
      select u.queue from unnest(p_queues) with ordinality u(queue, nr)
      order by pgflow._find_crashed(u.queue, pgflow.clock(), p_refused) is null, u.nr);
  end if;
  foreach v_queue in array p_queues loop
    exit when v_left <= 0;
    select c.* into v_taken from pgflow._claim_queue(
      p_worker, v_queue, v_left, p_lease, p_refused, v_crashed, p_options -> 'places' -> v_queue) c;
    if cardinality(p_refused) > 0 then
      v_more := jsonb_set('{"places": {}}' || v_more, array['places', v_queue],
        coalesce(v_taken.place, 'null'));
    end if;
    if v_taken.crashed is not null then
      v_more := v_more || jsonb_build_object(v_taken.crashed, true);
    end if;
    continue when v_taken.tasks is null;
    v_left := v_left - jsonb_array_length(v_taken.tasks);
    v_tasks := v_tasks || v_taken.tasks;
    v_steps := v_steps || v_taken.steps;
    exit when v_taken.crashed = 'alone';
    v_crashed := 'no';
  end loop;
  if cardinality(v_steps) = 0 then
    return '{"tasks": [], "contexts": {}, "specs": {}}' || v_more;
  end if;
  perform pgflow._clear_missing_handlers(v_steps);
  begin -- a block that only reads: it costs no transaction id
    v_contexts := pgflow._contexts(v_steps);
  exception when program_limit_exceeded then
    if jsonb_array_length(v_tasks) > 1 or not pgflow._fail_unreported(
      (v_tasks -> 0 ->> 'run')::uuid, v_tasks -> 0 ->> 'step', (v_tasks -> 0 ->> 'index')::int,
      jsonb_build_object('type', 'OutputTooLarge', 'message', format(
        'the arguments of %s exceed 256 MB: let the steps before it return references',
        v_tasks -> 0 ->> 'step')))
    then
      raise;
    end if;
    return '{"tasks": [], "contexts": {}, "specs": {}}' || (v_more - 'alone');
  end;
  return jsonb_build_object('tasks', v_tasks) || v_contexts || v_more;
end
$$;

-- Claims tasks of one queue; returns them in claim order, and their steps once each (null: none).
-- `crashed` is 'alone' where the task is to run alone, 'crashed' where such a task was not given.
-- Locks queue rows, then tasks, never waiting.
create or replace function pgflow._claim_queue(
  p_worker uuid, p_queue text, p_quantity int, p_lease interval, p_refused text[],
  p_crashed text, p_place jsonb,
  out tasks jsonb, out steps pgflow._step[], out crashed text, out place jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_ids bigint[];
  v_rows tid[];
  v_calm boolean;
  v_chosen record;
begin
  if p_crashed = 'first' then
    v_ids := pgflow._find_crashed(p_queue, v_clock, p_refused);
  end if;
  if v_ids is null and cardinality(p_refused) > 0 then
    select c.ids, c.place into v_ids, place
    from pgflow._choose_messages(p_queue, v_clock, p_quantity, p_refused, p_place) c;
  end if;
  v_ids := case
    when v_ids is null
      then pgflow._queue_take(p_queue, v_clock, v_clock + p_lease, p_quantity)
    else pgflow._queue_take_these(p_queue, v_clock, v_clock + p_lease, v_ids) end;
  if cardinality(v_ids) > 0 is not true then
    return;
  end if;
  -- The lock reads each row as it is when it has the lock. Nothing starts before all of them are
  -- known: a task that runs alone takes no others with it.
  select array_agg(h.ctid),
         count(*) = cardinality(v_ids) and bool_and(h.status = 'queued' and h.crashes_count = 0)
           and cardinality(p_refused) = 0
  into v_rows, v_calm
  from (
    select t.ctid, t.status, t.crashes_count from pgflow.step_tasks t
    where t.message_id = any(v_ids) and t.queue_name = p_queue
    for no key update of t skip locked) h;
  if v_calm is not true then
    select c.rows, c.crashed into v_chosen from pgflow._choose_claims(
      p_worker, p_queue, v_ids, coalesce(v_rows, '{}'), p_lease, p_refused, p_crashed) c;
    v_rows := v_chosen.rows;
    crashed := v_chosen.crashed;
  end if;
  select s.tasks, s.steps into tasks, steps
  from pgflow._start_tasks(p_worker, v_rows, v_clock + p_lease) s;
end
$$;

-- Starts tasks that the caller has locked, named by the place of their rows. Returns what
-- _claim_queue does.
create or replace function pgflow._start_tasks(
  p_worker uuid, p_rows tid[], p_lease timestamptz, out tasks jsonb, out steps pgflow._step[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := pgflow.now();
begin
  with started as (
    update pgflow.step_tasks t
    set status = 'started', started_at = greatest(v_now, t.queued_at),
        attempts_count = t.attempts_count + 1, lease = p_lease,
        last_worker_id = p_worker,
        uncounted = t.uncounted + (t.status = 'started')::int,
        crashes_count = t.crashes_count
          + (t.status = 'started' and t.last_worker_id is distinct from p_worker)::int
    where t.ctid = any(p_rows)
    returning t.message_id, t.run_id, t.step_slug, t.task_index, t.attempts_count, t.flow_slug,
      t.item, t.iteration, t.uncounted
  )
  select jsonb_agg(case s.uncounted
             when 0 then jsonb_build_object(
               'run', s.run_id, 'step', s.step_slug, 'index', s.task_index,
               'attempt', s.attempts_count, 'flow', s.flow_slug, 'item', s.item)
             else jsonb_build_object(
               'run', s.run_id, 'step', s.step_slug, 'index', s.task_index,
               'attempt', s.attempts_count, 'flow', s.flow_slug, 'item', s.item,
               'iteration', s.iteration, 'uncounted', s.uncounted)
           end order by s.message_id),
         (select array_agg(row(k.run_id, k.flow_slug, k.step_slug)::pgflow._step)
          from (select distinct x.run_id, x.flow_slug, x.step_slug from started x) k)
  into tasks, steps
  from started s;
end
$$;

-- Chooses the tasks that may start where not all can: p_rows are the rows of those that are locked
-- here, p_ids all messages that were taken. Returns the rows of the chosen tasks, and what
-- _claim_queue returns as `crashed`.
create or replace function pgflow._choose_claims(
  p_worker uuid, p_queue text, p_ids bigint[], p_rows tid[], p_lease interval, p_refused text[],
  p_crashed text, out rows tid[], out crashed text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_claimed bigint[];
  v_unusual jsonb;
  v_resolved record;
begin
  select array_agg(t.message_id)
           filter (where t.status = 'queued' and t.crashes_count = 0
             and not s.handler = any(p_refused) is true),
         jsonb_agg(jsonb_build_object(
            'id', t.message_id, 'run_id', t.run_id, 'step', t.step_slug, 'index', t.task_index,
            'status', t.status, 'leased', t.lease is not null,
            'mine', t.last_worker_id = p_worker, 'attempt', t.attempts_count - t.uncounted,
            'crashes', t.crashes_count, 'handler', s.handler,
            'long_over', t.lease < pg_postmaster_start_time(),
            'refused', s.handler = any(p_refused) is true,
            'since', coalesce(t.lease, t.queued_at),
            'overdue', greatest(t.queued_at, m.since) < v_clock - interval '24 hours'
              and m.since is not null))
           filter (where t.status <> 'queued' or t.crashes_count > 0 or s.handler = any(p_refused))
  into v_claimed, v_unusual
  from pgflow.step_tasks t
  join pgflow.steps s on s.flow_slug = t.flow_slug and s.step_slug = t.step_slug
  left join pgflow.missing_handlers m on m.handler = s.handler
  where t.ctid = any(p_rows);
  if v_unusual is not null or cardinality(v_claimed) is distinct from cardinality(p_ids) then
    if p_crashed = 'last' and cardinality(v_claimed) > 0 then
      p_crashed := 'no';
    end if;
    select r.takeover, r.crashed into v_resolved from pgflow._resolve_unusual_claims(
      p_queue, p_ids, v_claimed, v_unusual, p_lease, p_crashed <> 'no') r;
    v_claimed := coalesce(v_claimed, '{}') || v_resolved.takeover;
    crashed := v_resolved.crashed;
  end if;
  rows := array(
    select t.ctid from pgflow.step_tasks t
    where t.message_id = any(v_claimed) and t.queue_name = p_queue
      and t.status in ('queued', 'started'));
end
$$;

-- Decides about messages that cannot simply be claimed:
--
--   no task, or an ended one    dropped
--   locked by another session   visible again in 50 ms
--   handler refused             fails after a day in which no worker had it
--   its run is being stopped    cancelled
--   started, lease expired      taken over; a lease that ended only after the server started waits
--                               for the first lease after that, since its worker may only have been
--                               cut off; fails at the fifth crash (R-4)
--   had crashed before          given alone; back to its old place, where other tasks are given
--
-- Returns the messages to take over, and what _claim_queue returns as `crashed`.
create or replace function pgflow._resolve_unusual_claims(
  p_queue text, p_read bigint[], p_claimed bigint[], p_unusual jsonb, p_lease interval,
  p_alone boolean, out takeover bigint[], out crashed text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_clock timestamptz := pgflow.clock();
  v_rested timestamptz := pg_postmaster_start_time() + p_lease;
  v_gone bigint[];
  v_parked bigint[];
  v_until timestamptz[];
  v_task record;
  v_error jsonb;
begin
  takeover := '{}';
  v_gone := array(
    select m.id from unnest(p_read) m(id)
    where not exists (
      select 1 from pgflow.step_tasks t where t.message_id = m.id and t.queue_name = p_queue));
  v_parked := array(
    select m.id from unnest(p_read) m(id)
    where m.id <> all(coalesce(p_claimed, '{}')) and m.id <> all(v_gone)
      and not exists (
        select 1 from jsonb_array_elements(p_unusual) o where (o ->> 'id')::bigint = m.id));
  v_until := array_fill(v_clock + interval '50 ms', array[cardinality(v_parked)]);

  for v_task in
    select o.* from jsonb_to_recordset(p_unusual) o(
      id bigint, run_id uuid, step text, index int, status text, leased boolean, mine boolean,
      attempt int, crashes int, handler text, long_over boolean, refused boolean, overdue boolean,
      since timestamptz)
    order by o.crashes > 0, o.since
  loop
    v_error := null;
    if v_task.status not in ('queued', 'started') then
      v_gone := v_gone || v_task.id;
    elsif v_task.status = 'started' and not v_task.leased then
      continue; -- claimed by a client of pgflow: only requeue_stalled_tasks takes it back
    elsif v_task.status = 'started' and pgflow._is_stopping(v_task.run_id, v_task.step) then
      v_error := '{"type": "Cancelled", "message": "its run is ending"}';
    elsif v_task.refused then
      if v_task.overdue then
        v_error := jsonb_build_object('type', 'HandlerMissing',
          'message', format('no worker had the handler %s for 24 hours', v_task.handler));
      else
        v_parked := v_parked || v_task.id;
        v_until := v_until || least(v_clock, v_task.since);
      end if;
    elsif v_task.status = 'started' and v_clock < v_rested
      and not v_task.mine and not v_task.long_over
    then
      v_parked := v_parked || v_task.id;
      v_until := v_until || v_rested;
    elsif v_task.status = 'started' and v_task.crashes >= 4 and not v_task.mine then
      v_error := jsonb_build_object('type', 'Crashed', 'message', format(
        'its worker died or fell silent 5 times, the last time in attempt %s', v_task.attempt));
    elsif v_task.crashes = 0 then
      takeover := takeover || v_task.id;
    elsif p_alone and takeover = '{}' then
      takeover := array[v_task.id];
      crashed := 'alone';
    else
      v_parked := v_parked || v_task.id;
      v_until := v_until || least(v_clock, v_task.since);
      crashed := coalesce(crashed, 'crashed');
    end if;
    if v_error is not null
      and not pgflow._fail_unreported(v_task.run_id, v_task.step, v_task.index, v_error)
    then
      v_parked := v_parked || v_task.id;
      v_until := v_until || (v_clock + interval '50 ms');
    end if;
  end loop;
  if cardinality(v_parked) > 0 then
    perform pgflow._queue_park(p_queue, v_parked, v_until);
  end if;
  if cardinality(v_gone) > 0 then
    perform pgflow._check_queue(p_queue);
    perform pgflow._queue_drop(p_queue, v_gone, false);
  end if;
end
$$;

-- Deletes the records of missing handlers that a worker now has. Never waits.
create or replace function pgflow._clear_missing_handlers(p_steps pgflow._step[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select 1 from pgflow.missing_handlers) then
    delete from pgflow.missing_handlers m
    where m.handler in (
      select x.handler from pgflow.missing_handlers x
      where x.handler in (
        select d.handler from unnest(p_steps) p
        join pgflow.steps d on d.flow_slug = p.flow_slug and d.step_slug = p.step_slug)
      for update skip locked);
  end if;
end
$$;

-- Fails a task that no worker will report. False where its run is locked: the caller tries again
-- later. The caller holds the task and its message.
create or replace function pgflow._fail_unreported(
  p_run_id uuid, p_step text, p_index int, p_error jsonb
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform 1 from pgflow.runs r where r.run_id = p_run_id for no key update skip locked;
  if not found then
    return false;
  end if;
  update pgflow.step_tasks t
  set status = 'started', started_at = coalesce(t.started_at, greatest(pgflow.now(), t.queued_at)),
      crashes_count = t.crashes_count + (t.status = 'started')::int,
      uncounted = t.uncounted + (t.status = 'started')::int
  where (t.run_id, t.step_slug, t.task_index) = (p_run_id, p_step, p_index)
    and t.status in ('queued', 'started');
  perform pgflow._settle(array[
    row(p_run_id, p_step, p_index, null, null, 'fatal', null, p_error, null)::pgflow._report]);
  return true;
end
$$;
