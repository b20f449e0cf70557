-- Evaluating steps that wait: for an event, a decision or a time.

-- Decides about a wait that is reached: it is over already (its event came before it, its time has
-- passed), or lasts until `due`. A rejection that came before is left to the timers, which end the
-- step by its policy. `tells` is when flows that hear of waits are first told: now if there are
-- any, else at the first reminder, when there may be.
create or replace function pgflow._evaluate_wait(
  p_run pgflow.runs, p_step pgflow.steps, out verdict text, out error jsonb, out output jsonb,
  out due timestamptz, out tells timestamptz
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wait jsonb := p_step.spec -> 'wait';
  v_clock timestamptz := pgflow.clock();
  v_signal pgflow.events := pgflow._find_signal(p_run.run_id, p_step.step_slug, v_wait);
  v_time jsonb;
begin
  if v_signal.kind is not null then
    verdict := case
      when v_signal.data -> 'approved' = 'false' and v_signal.kind = 'decision' then 'wait'
      else 'completed' end;
    due := case verdict when 'wait' then v_clock end;
    output := pgflow._signal_output(v_signal);
    return;
  elsif v_wait ? 'event' then
    verdict := 'wait';
    due := v_clock + (v_wait ->> 'timeout')::bigint * interval '1 ms';
    tells := case
      when (select f.heard ? 'waiting' from pgflow.flows f
            where f.flow_slug = p_step.flow_slug) then v_clock
      else v_clock + (v_wait ->> 'remind')::bigint * interval '1 ms' end;
    return;
  end if;
  v_time := pgflow._wait_end(p_run, v_wait);
  if v_time ? 'error' then
    verdict := 'failed';
    error := jsonb_build_object('type', 'ExpressionError', 'message', v_time ->> 'error',
      'attempts', 0);
    return;
  end if;
  due := (v_time ->> 'value')::timestamptz;
  verdict := case when due <= v_clock then 'completed' else 'wait' end;
  output := 'null';
  if verdict = 'completed' then
    due := null;
  end if;
end
$$;

-- The end of a timed wait: {"value": timestamp} or {"error": text}. `for` gives seconds or a
-- duration text, `until` RFC 3339 text with an offset or epoch seconds.
create or replace function pgflow._wait_end(p_run pgflow.runs, p_wait jsonb) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text := case when p_wait ? 'for' then 'for' else 'until' end;
  v_formula jsonb := p_wait -> v_key;
  v_result jsonb;
  v_parts text[];
begin
  if jsonb_typeof(v_formula) = 'number' then
    return jsonb_build_object('value', pgflow.clock() + v_formula::float8 * interval '1 ms');
  end if;
  v_result := pgflow.evaluate(v_formula -> 'ast', pgflow._environment(p_run, v_formula -> 'paths'));
  if v_result ? 'error' then
    return jsonb_build_object('error', format('wait.%s: %s', v_key, v_result ->> 'error'));
  end if;
  v_parts := regexp_match(v_result ->> 'value', '^([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)$');
  if v_key = 'for' and jsonb_typeof(v_result -> 'value') = 'number' then
    return jsonb_build_object(
      'value', pgflow.clock() + (v_result -> 'value')::float8 * interval '1 second');
  elsif v_key = 'for' and v_parts is not null then
    return jsonb_build_object('value', pgflow.clock() + v_parts[1]::float8 * case v_parts[2]
      when 'ms' then interval '1 ms' when 's' then interval '1 second'
      when 'm' then interval '1 minute' when 'h' then interval '1 hour'
      else interval '24 hours' end);
  elsif v_key = 'until' and jsonb_typeof(v_result -> 'value') = 'number' then
    return jsonb_build_object('value', to_timestamp((v_result -> 'value')::float8));
  elsif v_key = 'until'
    and v_result ->> 'value' ~* '^[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9:.]+(z|[+-][0-9]{2}:?[0-9]{2})$'
  then
    return jsonb_build_object('value', (v_result ->> 'value')::timestamptz);
  end if;
  return jsonb_build_object('error', case v_key
    when 'for' then format('wait.for needs seconds or a duration such as "10m", not %s',
                           left((v_result -> 'value')::text, 200))
    else format('wait.until needs a time with an offset such as "2026-12-24T18:00:00+01:00", or '
                || 'epoch seconds, not %s', left((v_result -> 'value')::text, 200)) end);
exception when data_exception then
  return jsonb_build_object(
    'error', format('wait.%s: %s is not a time', v_key, left((v_result -> 'value')::text, 200)));
end
$$;

-- True for a wait that a decision alone ends: it asks for a form, or for certain people, and an
-- event has neither.
create or replace function pgflow._is_decided(p_wait jsonb) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select p_wait ?| array['form', 'by'] $$;

-- The signal to a step with this `wait`, up to p_until if given (a decision is taken only while the
-- step has not ended): the decision about it, or the event, whichever came first. All columns are
-- null when there is none, and for a timed wait, which takes no signal. Reads only.
create or replace function pgflow._find_signal(
  p_run_id uuid, p_step_slug text, p_wait jsonb, p_until timestamptz default null
) returns pgflow.events
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select e.* from pgflow.events e
  where e.run_id = p_run_id and p_wait ? 'event'
    and (e.kind = 'decision' or e.created_at <= p_until) is not false
    and (e.kind, e.name) in (('decision', p_step_slug), ('event',
      case when not pgflow._is_decided(p_wait) then p_wait ->> 'event' end))
  order by e.created_at, e.kind limit 1
$$;

-- The output of a step that a signal completes.
create or replace function pgflow._signal_output(p_signal pgflow.events) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_signal.kind
    when 'event' then p_signal.data
    else jsonb_build_object('by', p_signal.sent_by, 'comment', p_signal.data -> 'comment')
      || case when p_signal.data ? 'data'
        then jsonb_build_object('data', p_signal.data -> 'data') else '{}' end end
$$;
