-- The types in which the functions of the engine take and return sets: arrays of rows.

-- The row type of start_tasks, as in pgflow.
create type pgflow.step_task_record as (
  flow_slug text,
  run_id uuid,
  step_slug text,
  input jsonb,
  msg_id bigint,
  task_index int,
  flow_input jsonb
);

-- The reported result of one attempt. A null attempt or worker matches any (start_tasks hands
-- out tasks without an attempt number).
create type pgflow._report as (
  run_id uuid,
  step_slug text,
  task_index int,
  attempt int,
  worker uuid,
  outcome text,
  output jsonb,
  error jsonb,
  delay_ms bigint
);

-- One message to send, under the id that its task has already.
create type pgflow._message as (
  id bigint,
  vt timestamptz,
  flow_slug text,
  run_id uuid,
  step_slug text,
  task_index int
);

-- One task that has ended, and the message that goes with it.
create type pgflow._ended_task as (
  run_id uuid,
  flow_slug text,
  step_slug text,
  queue_name text,
  message_id bigint,
  archive boolean
);

-- One step about to start: number of tasks (null: not evaluated yet), their items (null: none).
create type pgflow._start as (
  run_id uuid,
  flow_slug text,
  step_slug text,
  tasks int,
  items jsonb
);

-- A step of a run.
create type pgflow._step as (
  run_id uuid,
  flow_slug text,
  step_slug text
);

-- One step that has ended: completed, failed, cancelled, skipped (dependents go on) or upstream
-- (dependents are skipped too).
create type pgflow._ended as (
  run_id uuid,
  flow_slug text,
  step_slug text,
  kind text
);

-- One step that has not ended, the status it moves to, and what goes with that status. `message`
-- is pgflow's error_message.
create type pgflow._transition as (
  run_id uuid,
  step_slug text,
  status text,
  skip_reason text,
  output jsonb,
  error jsonb,
  message text
);

-- One failed step, and the policy that decides about it: fail, skip, skip-cascade.
create type pgflow._step_failure as (
  run_id uuid,
  flow_slug text,
  step_slug text,
  task_index int,
  policy text,
  error jsonb,
  message text
);

-- One step whose failure ends its run.
create type pgflow._run_failure as (
  run_id uuid,
  step_slug text,
  error jsonb
);
