-- The turn: the whole conversation of a worker with the database, one call and one commit. Read
-- this file first; the others are its parts, in the order of their numbers.
--
--   turn --> settle -----------> advance ----------------------> timers -----> claim
--            45 results          55 waves of dependents          80 deadlines  76 tasks
--            50 failures         56 recovery of failed runs      82 waits      78 contexts
--            52 tolerated items  60, 62 conditions, maps, waits  84 children     79 bad rows
--                                66 steps begin, 70, 72 runs end
--
-- The life of a task:
--
--   its step     claim        settle
--   begins         |            |
--      |           v            v
--      +--> queued --> started --+--> completed --> its step counts down, dependents advance
--             ^        |  ^      +--> failed: no attempt is left --> the policies of its step
--             |        |  |      +--> cancelled, skipped: its run or step has ended
--             |        |  +-- the lease has ended: the next claim takes the task over
--             +--------+-- failed, released or called again: parked until its next attempt
--
-- Who writes a status, and from where it is called (pgflow/ calls the same functions):
--
--   task  (none) -> queued           _make_tasks         _begin_runs, _advance, _start_steps
--                                    _make_more_tasks    _run_timer: more tasks of a large map
--         queued -> started          _claim_queue        turn > _claim
--                                    _start_child        _run_timer: the task is a child run
--         started -> started         _claim_queue        takeover, by _resolve_unusual_claims
--         started -> completed       _settle             turn, _settle_child
--         started -> queued, failed  _settle_failures    _settle
--         live -> cancelled, skipped _end_tasks          _fail_steps, _end_runs
--                                    _stop_steps         _stop_runs, _stop_ordinary_steps
--   step  created -> started         _begin_runs         roots with one task and no condition
--                                    _lower_dependents   _advance: such dependents
--                                    _start_steps        _advance: all other steps
--         created -> ended, waiting  _evaluate_ready     _advance: skipped, empty, failed, a wait
--                                    _lower_dependents   _advance: an edge cannot be met any more
--         started -> completed       _count_down_steps   _settle
--         -> any other end           _end_states         _settle_tolerant, _fail_steps,
--                                                        _complete_waits, _cancel_stopped_steps,
--                                                        _end_runs
--   run   started -> completed       _end_steps          _advance
--         started -> its outcome     _finish_runs        _end_steps: flows with `finally`, `output`
--                                                        _settle_child: the last child has ended
--         started -> failed,         _end_runs           _end_or_stop_runs, cancel_run, fail_run
--                    cancelled

-- One call of a worker, one commit: settle its results, advance, claim up to p_quantity tasks.
-- p_results: [{run, step, index, attempt, outcome: completed | failed | fatal | retry_later |
-- released | crashed (the process that ran the handler died), output, error: {type, message,
-- trace}, delay_ms}]. p_refused: handlers that this worker cannot call. Returns {verdicts, tasks,
-- contexts, specs}; what _run_timers and _claim return; and, where there was nothing to claim,
-- {next_ms}: when to come again. Raises PF006 for an argument that makes no sense, 54000 for an
-- output that is too large, and what _check_login raises.
--
-- p_options: skip, true: a result whose run another session holds gets the verdict "busy" and is to
-- be sent again; without it the turn waits for a quarter of a second, then raises 55P03. crashed
-- and places: see _claim. readable, true: see _claim_readable. logs: see _write_logs. ended, "all"
-- or "failed": the reply has {ended}, the runs that ended in this turn and the steps that failed;
-- see _noted_ends.
create or replace function pgflow.turn(
  p_worker uuid, p_results jsonb, p_queues text[], p_quantity int, p_lease interval,
  p_refused text[] default '{}', p_options jsonb default '{}'
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_verdicts text[] := '{}';
  v_reply jsonb;
  v_clock timestamptz;
  v_set text;
begin
  if (jsonb_typeof(p_results) = 'array' and p_quantity >= 0 and pgflow._are_queues(p_queues))
    is not true
  then
    raise exception using errcode = 'PF006',
      message = 'a turn takes an array of results, names of queues, and a quantity of at least 0';
  end if;
  perform pgflow._check_login(p_worker, p_queues);
  if p_options ? 'ended' then
    v_set := set_config('pgflow.ended',
      case p_options ->> 'ended' when 'all' then 'all' else 'failed' end, true);
  end if;
  if p_options ? 'logs' then
    perform pgflow._write_logs(p_worker, p_options -> 'logs');
  end if;
  if jsonb_array_length(p_results) > 0 then
    v_verdicts := pgflow._settle_free(
      pgflow._read_reports(p_worker, p_results), p_options ? 'skip');
  end if;
  v_reply := jsonb_build_object('verdicts', to_jsonb(v_verdicts));
  if p_quantity > 0 then
    v_clock := pgflow.clock();
    v_reply := v_reply || pgflow._run_timers()
      || case when p_options ? 'readable'
        then pgflow._claim_readable(
          p_worker, p_queues[1], pgflow._checked_lease(p_lease), coalesce(p_refused, '{}'),
          p_options)
        else pgflow._claim(p_worker, p_queues, p_quantity, pgflow._checked_lease(p_lease),
          coalesce(p_refused, '{}'), p_options) end;
    if v_reply -> 'tasks' = '[]' then
      v_reply := v_reply || jsonb_build_object(
        'next_ms', pgflow._next_ms(p_queues, v_clock, v_reply));
    end if;
  else
    v_reply := v_reply || '{"tasks": [], "contexts": {}, "specs": {}}';
  end if;
  if p_options ? 'ended' and position(',' in current_setting('pgflow.ended', true)) > 0 then
    v_reply := v_reply
      || jsonb_strip_nulls(jsonb_build_object('ended', pgflow._noted_ends(p_worker)));
  end if;
  return v_reply;
end
$$;

-- The results that a worker sends, as reports, their errors cut. Raises PF006 for what cannot be
-- read, 54000 for an output that is too large. (The block only reads: it costs no transaction id.)
create or replace function pgflow._read_reports(p_worker uuid, p_results jsonb)
returns pgflow._report[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reports pgflow._report[];
  v_valid boolean;
  v_large text;
begin
  select
    array_agg(row(r.run, r.step, r.index, r.attempt, p_worker, r.outcome,
                  coalesce(r.output, 'null'), pgflow._cut_error(r.error),
                  r.delay_ms)::pgflow._report order by nr),
    bool_and((r.outcome in ('completed', 'failed', 'fatal', 'retry_later', 'released', 'crashed')
      and coalesce(r.delay_ms, 0) between 0 and 315360000000) is true),
    -- small ones, which are most, cost no call
    min(r.step) filter (where pg_column_size(r.output) > 8000 and pgflow._is_too_large(r.output))
  into v_reports, v_valid, v_large
  from rows from (jsonb_to_recordset(p_results) as (
    run uuid, step text, index int, attempt int, outcome text, output jsonb, error jsonb,
    delay_ms bigint))
    with ordinality r(run, step, index, attempt, outcome, output, error, delay_ms, nr);
  if not v_valid then
    raise exception using errcode = 'PF006', message = 'the outcome of a result is completed, '
      || 'failed, fatal, retry_later, released or crashed, and its delay from 0 to 10 years';
  end if;
  perform pgflow._refuse_outputs(v_large);
  return v_reports;
exception when data_exception then
  raise exception using errcode = 'PF006', message = 'a result cannot be read: ' || sqlerrm;
end
$$;

-- True for names of queues that a worker may serve: the timers are served by each turn.
create or replace function pgflow._are_queues(p_queues text[]) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(array_ndims(p_queues), 1) = 1 and array_position(p_queues, null) is null
    and position('pgflow__timers' in lower(p_queues::text)) = 0;
end
$$;
