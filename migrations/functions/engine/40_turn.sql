-- The turn.

-- One call of a worker, one commit: settle what it brings, advance, claim what it has room for.
-- p_results: [{run, step, index, attempt, outcome: completed | failed | fatal | retry_later |
-- released, output, error: {type, message, trace}, delay_ms}]. p_refused: handlers this worker
-- cannot call. Returns {verdicts, tasks, contexts, specs}.
create or replace function pgflow.turn(
  p_worker uuid, p_results jsonb, p_queues text[], p_quantity int, p_lease interval,
  p_refused text[] default '{}'
) returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reports pgflow._report[];
  v_verdicts text[] := '{}';
  v_reply jsonb;
begin
  if jsonb_array_length(p_results) > 0 then
    select array_agg(row(r.run, r.step, r.index, r.attempt, p_worker, r.outcome,
                         coalesce(r.output, 'null'), r.error, r.delay_ms)::pgflow._report
                           order by nr)
    into v_reports
    from rows from (jsonb_to_recordset(p_results) as (
      run uuid, step text, index int, attempt int, outcome text, output jsonb, error jsonb,
      delay_ms bigint))
      with ordinality r(run, step, index, attempt, outcome, output, error, delay_ms, nr);
    v_verdicts := pgflow._settle(v_reports);
  end if;
  v_reply := jsonb_build_object('verdicts', to_jsonb(v_verdicts));
  if p_quantity > 0 then
    perform pgflow._run_timers();
    return v_reply || pgflow._claim(p_worker, p_queues, p_quantity, p_lease,
      coalesce(p_refused, '{}'));
  end if;
  return v_reply || '{"tasks": [], "contexts": {}, "specs": {}}';
end
$$;
