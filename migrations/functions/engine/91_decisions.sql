-- Decisions of people about steps that wait for an event: who may decide, and with which answer. A
-- wait with `form` or `by` takes no event: a decision alone ends it.

-- The answer to a step, with defaults: what the fields of its form take. Of one who rejects it,
-- nothing is required. Null without a form. Raises PF002, which names each field that does not fit.
create or replace function pgflow._checked_answer(
  p_step text, p_form jsonb, p_data jsonb, p_approved boolean
) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_data jsonb := nullif(p_data, 'null');
  v_problem text := case
    when v_data is not null and p_form is null then 'is not taken: the step has no form'
    when pgflow._is_too_large(v_data) then 'must have at most 2 MiB' end;
begin
  if v_problem is not null then
    raise exception using errcode = 'PF002',
      message = format('the answer to step "%s" is refused', p_step),
      detail = jsonb_build_array(
        jsonb_build_object('path', 'data', 'message', v_problem))::text;
  elsif p_form is null or v_data is null and not p_approved then
    return null;
  elsif not p_approved then
    p_form := (select jsonb_object_agg(f.key, f.value) from jsonb_each(p_form) f
               where v_data ? f.key);
  end if;
  return pgflow._checked_fields(p_step, p_form, coalesce(v_data, '{}'), true);
end
$$;

-- Raises PF005 unless the step is for this person, or for one of these groups of theirs, to decide.
create or replace function pgflow._check_decider(
  p_step text, p_wait jsonb, p_by text, p_groups text[]
) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_wait ? 'by' and not p_wait -> 'by' ?| (array[p_by] || p_groups) then
    raise exception using errcode = 'PF005',
      message = format('step "%s" is for %s to decide, not for %s', p_step, (
        select string_agg(b.name, ' or ' order by b.nr)
        from jsonb_array_elements_text(p_wait -> 'by') with ordinality b(name, nr)),
        left(p_by, 200));
  end if;
end
$$;

-- Serves approve_step and reject_step. Locks the run before it reads its state.
create or replace function pgflow._decide(
  p_run text, p_step text, p_approved boolean, p_comment text, p_by text, p_request uuid,
  p_data jsonb, p_groups text[]
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run pgflow.runs := pgflow._lock_run_by_text(p_run);
  v_status text := (
    select s.status from pgflow.step_states s
    where s.run_id = v_run.run_id and s.step_slug = p_step);
  v_wait jsonb := (
    select coalesce(d.spec -> 'wait', '{}') from pgflow.steps d
    where d.flow_slug = v_run.flow_slug and d.step_slug = p_step);
  v_signal pgflow.events;
  v_applied boolean := false;
  v_comment text := pgflow._cut_text(p_comment); -- the error of a rejected step
  v_answer jsonb := '{}';
begin
  if v_wait is null then
    raise exception using errcode = 'PF001',
      message = format('run %s has no step "%s"', v_run.run_id, p_step);
  elsif not v_wait ? 'event' then
    raise exception using errcode = 'PF005',
      message = format(
        'step "%s" waits for no event, so there is nothing to approve or reject', p_step);
  end if;
  select e.* into v_signal from pgflow.events e
  where (e.run_id, e.kind, e.name) = (v_run.run_id, 'decision', p_step);
  if found then
    v_applied := (v_signal.request = p_request) is true;
  else
    if v_status not in ('created', 'started') or v_run.status <> 'started' then
      raise exception using errcode = 'PF005',
        message = format('step "%s" of run %s waits no more: it is %s',
                         p_step, v_run.run_id, v_status);
    end if;
    v_signal := pgflow._find_signal(v_run.run_id, p_step, v_wait);
    if v_signal.kind is not null then -- of signals the first stands, so this is the event
      raise exception using errcode = 'PF005',
        message = format('event "%s" from %s came before this decision and completes step "%s" '
                         'of run %s', v_signal.name, v_signal.sent_by, p_step, v_run.run_id);
    end if;
    perform pgflow._check_decider(p_step, v_wait, coalesce(p_by, session_user), p_groups);
    p_data := pgflow._checked_answer(p_step, v_wait -> 'form', p_data, p_approved);
    if p_data is not null then
      v_answer := jsonb_build_object('data', p_data);
    end if;
    v_applied := true;
    insert into pgflow.events (run_id, kind, name, data, sent_by, created_at, request)
    values (v_run.run_id, 'decision', p_step,
            jsonb_build_object('approved', p_approved, 'comment', v_comment) || v_answer,
            coalesce(p_by, session_user), pgflow.clock(), p_request)
    returning * into v_signal;
    insert into pgflow.audit (action, subject, details, who)
    values (case when p_approved then 'approve' else 'reject' end, v_run.run_id::text,
            jsonb_build_object('step', p_step, 'comment', v_comment) || v_answer,
            v_signal.sent_by);
    if v_status = 'started' then
      perform pgflow._apply_signal(v_run, p_step, v_signal);
    end if;
  end if;
  return jsonb_build_object('run_id', v_run.run_id, 'step', p_step, 'applied', v_applied,
    'by', v_signal.sent_by, 'at', v_signal.created_at,
    'status', case when (v_signal.data -> 'approved')::boolean then 'approved' else 'rejected' end);
end
$$;

-- Approves a step that waits for an event: completes it with {"by", "comment"}, and with the "data"
-- that its form asks for, now or when it is reached. Locks the run. p_groups are the groups of
-- p_by, for a step that names who decides. Returns {run_id, step, status: the decision that stands,
-- applied: true when it is this one, by, at}; p_request is the id of the request, a repeat of it
-- gets the same answer. Raises PF001 for an unknown run or step, PF002 for data that the form does
-- not take, PF005 for a step without a decision, for one whose event came before, and for somebody
-- who is not to decide it.
create or replace function pgflow.approve_step(
  p_run text, p_step text, p_comment text default null, p_by text default null,
  p_request uuid default null, p_data jsonb default null, p_groups text[] default null
) returns jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._decide(p_run, p_step, true, p_comment, p_by, p_request, p_data, p_groups)
$$;

-- Rejects a step that waits for an event: it fails with the error type Rejected, without another
-- attempt. Of its form, those fields are checked that are given. Otherwise as approve_step.
create or replace function pgflow.reject_step(
  p_run text, p_step text, p_comment text default null, p_by text default null,
  p_request uuid default null, p_data jsonb default null, p_groups text[] default null
) returns jsonb
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select pgflow._decide(p_run, p_step, false, p_comment, p_by, p_request, p_data, p_groups)
$$;
