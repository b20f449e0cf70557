-- The tables of the engine.
--
-- The schema is the one that clients of pgflow know (names, types, defaults and constraint names are facts they
-- rely on); what is ours comes last in each table, nullable or with a default that means "as pgflow does".
--
--   flows, steps, deps      an immutable DAG; a changed flow is a new slug
--   definitions             names and versions above the slugs: order, version 8c41e07b52d1 = flow order__8c41e07b52d1
--   runs, step_states       one row a run, one a step of it; three counters are the whole scheduler:
--                           runs.remaining_steps, step_states.remaining_deps, step_states.remaining_tasks
--   step_tasks              one row a task, paired with one message (queue_name, message_id) while it is live
--   task_errors             one row for each failed attempt; the success path writes none
--   workers                 who works, and when it was last heard of
--   audit                   who deployed, activated, cancelled, and when (S-24)
--
-- A status is text and rows may be written by hand, so the checks here are only those that pgflow's callers know.

create function pgflow.is_valid_slug(slug text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(slug ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$' and slug <> 'run', false)
$$;

create table pgflow.flows (
  flow_slug text primary key,
  opt_max_attempts int not null default 3,
  opt_base_delay int not null default 1,
  opt_timeout int not null default 60,
  created_at timestamptz not null default now(),
  queue_name text,
  door text not null default 'pgflow',
  input_spec jsonb,
  constraint slug_is_valid check (pgflow.is_valid_slug(flow_slug)),
  constraint opt_max_attempts_is_nonnegative check (opt_max_attempts >= 0),
  constraint opt_base_delay_is_nonnegative check (opt_base_delay >= 0),
  constraint opt_timeout_is_positive check (opt_timeout > 0),
  constraint flows_door_check check (door in ('pgflow', 'deploy'))
);
comment on column pgflow.flows.queue_name is 'its pgmq queue; null = the slug';
comment on column pgflow.flows.door is 'who made it: the two doors behave differently in places';
comment on column pgflow.flows.input_spec is 'name -> JSON Schema of each field of the run input; null of a deployed flow: takes only {}';

create table pgflow.steps (
  flow_slug text not null references pgflow.flows (flow_slug),
  step_slug text not null,
  step_type text not null default 'single',
  step_index int not null default 0,
  deps_count int not null default 0,
  opt_max_attempts int,
  opt_base_delay int,
  opt_timeout int,
  opt_start_delay int,
  required_input_pattern jsonb,
  forbidden_input_pattern jsonb,
  when_unmet text not null default 'skip',
  when_exhausted text not null default 'fail',
  created_at timestamptz not null default now(),
  queue_name text,
  handler text,
  condition jsonb,
  map_items jsonb,
  fixed_tasks int,
  spec jsonb,
  plain boolean not null generated always as (
    step_type = 'single' and condition is null
    and required_input_pattern is null and forbidden_input_pattern is null) stored,
  constraint steps_pkey primary key (flow_slug, step_slug),
  constraint steps_flow_slug_step_index_key unique (flow_slug, step_index),
  constraint steps_step_slug_check check (pgflow.is_valid_slug(step_slug)),
  constraint steps_step_type_check check (step_type in ('single', 'map')),
  constraint steps_deps_count_check check (deps_count >= 0),
  constraint opt_max_attempts_is_nonnegative check (opt_max_attempts is null or opt_max_attempts >= 0),
  constraint opt_base_delay_is_nonnegative check (opt_base_delay is null or opt_base_delay >= 0),
  constraint opt_timeout_is_positive check (opt_timeout is null or opt_timeout > 0),
  constraint opt_start_delay_is_nonnegative check (opt_start_delay is null or opt_start_delay >= 0),
  constraint required_input_pattern_is_object
    check (required_input_pattern is null or jsonb_typeof(required_input_pattern) = 'object'),
  constraint forbidden_input_pattern_is_object
    check (forbidden_input_pattern is null or jsonb_typeof(forbidden_input_pattern) = 'object'),
  constraint when_unmet_is_valid check (when_unmet in ('fail', 'skip', 'skip-cascade')),
  constraint when_exhausted_is_valid check (when_exhausted in ('fail', 'skip', 'skip-cascade'))
);
comment on column pgflow.steps.condition is '{"ast", "paths"} of `if`; null = always';
comment on column pgflow.steps.map_items is '{"ast", "paths"} of `map`; null of a map step = pgflow''s: the dependency''s output, or the run input';
comment on column pgflow.steps.plain is 'one task, no condition: what starts without being looked at';
comment on column pgflow.steps.fixed_tasks is '`initial_tasks`: so many tasks, each with the step''s own input';
comment on column pgflow.steps.spec is 'what only the worker and the retry policy read: with, timeout_ms, base_delay_ms, max_delay_ms, backoff, jitter, start_delay_ms';

create table pgflow.deps (
  flow_slug text not null references pgflow.flows (flow_slug),
  dep_slug text not null,
  step_slug text not null,
  created_at timestamptz not null default now(),
  constraint deps_pkey primary key (flow_slug, dep_slug, step_slug),
  constraint deps_flow_slug_dep_slug_fkey foreign key (flow_slug, dep_slug)
    references pgflow.steps (flow_slug, step_slug),
  constraint deps_flow_slug_step_slug_fkey foreign key (flow_slug, step_slug)
    references pgflow.steps (flow_slug, step_slug),
  constraint deps_check check (dep_slug <> step_slug)
);
create index deps_by_step on pgflow.deps (flow_slug, step_slug);

create table pgflow.definitions (
  name text not null,
  version text not null,
  flow_slug text not null unique references pgflow.flows (flow_slug) on delete cascade,
  definition jsonb not null,
  source text not null,
  description text,
  git jsonb,
  created_at timestamptz not null default now(),
  created_by text not null default session_user,
  active boolean not null default false,
  primary key (name, version)
);
create unique index one_active_version on pgflow.definitions (name) where active;

create table pgflow.runs (
  run_id uuid primary key default gen_random_uuid(),
  flow_slug text not null references pgflow.flows (flow_slug),
  status text not null default 'started',
  input jsonb not null,
  output jsonb,
  remaining_steps int not null default 0,
  started_at timestamptz not null default now(),
  completed_at timestamptz,
  failed_at timestamptz,
  flow_name text,
  run_key text,
  cancelled_at timestamptz,
  error jsonb,
  constraint runs_remaining_steps_check check (remaining_steps >= 0),
  constraint status_is_valid check (status in ('started', 'failed', 'completed', 'cancelled')),
  constraint completed_at_or_failed_at check (not (completed_at is not null and failed_at is not null)),
  constraint completed_at_is_after_started_at check (completed_at is null or completed_at >= started_at),
  constraint failed_at_is_after_started_at check (failed_at is null or failed_at >= started_at)
) with (fillfactor = 70);
create index runs_by_flow on pgflow.runs (flow_slug);
create index runs_by_status on pgflow.runs (status);
create index runs_by_start on pgflow.runs (started_at desc, run_id);
create index runs_live on pgflow.runs (run_id) where status = 'started';
create unique index runs_by_key on pgflow.runs (run_key, flow_name) where run_key is not null;
comment on column pgflow.runs.run_key is 'idempotency key of the start, unique for each flow name';
comment on column pgflow.runs.error is '{"type", "message", "step", "index"} of the failure that ended it, or the reason of a cancel';

create table pgflow.step_states (
  flow_slug text not null references pgflow.flows (flow_slug),
  run_id uuid not null references pgflow.runs (run_id),
  step_slug text not null,
  status text not null default 'created',
  remaining_tasks int,
  initial_tasks int,
  remaining_deps int not null default 0,
  output jsonb,
  error_message text,
  skip_reason text,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  failed_at timestamptz,
  skipped_at timestamptz,
  cancelled_at timestamptz,
  error jsonb,
  made int not null default 0,
  sent int not null default 0,
  make_message_id bigint,
  constraint step_states_pkey primary key (run_id, step_slug),
  constraint step_states_flow_slug_step_slug_fkey foreign key (flow_slug, step_slug)
    references pgflow.steps (flow_slug, step_slug),
  constraint step_states_status_check
    check (status in ('created', 'started', 'completed', 'failed', 'skipped', 'cancelled')),
  constraint step_states_remaining_tasks_check check (remaining_tasks >= 0),
  constraint step_states_initial_tasks_check check (initial_tasks is null or initial_tasks >= 0),
  constraint step_states_remaining_deps_check check (remaining_deps >= 0),
  constraint remaining_tasks_state_consistency
    check (remaining_tasks is null or status not in ('created', 'skipped')),
  constraint status_and_remaining_tasks_match check (status <> 'completed' or remaining_tasks = 0),
  constraint initial_tasks_known_when_started check (status <> 'started' or initial_tasks is not null),
  constraint output_only_for_completed_or_null check (output is null or status = 'completed'),
  constraint skip_reason_matches_status check ((skip_reason is not null) = (status = 'skipped')),
  constraint completed_at_or_failed_at_or_skipped_at
    check (num_nonnulls(completed_at, failed_at, skipped_at) <= 1),
  constraint started_at_is_after_created_at check (started_at is null or started_at >= created_at),
  constraint skipped_at_is_after_created_at check (skipped_at is null or skipped_at >= created_at),
  constraint completed_at_is_after_started_at check (completed_at is null or completed_at >= started_at),
  constraint failed_at_is_after_started_at check (failed_at is null or failed_at >= started_at)
) with (fillfactor = 70);
comment on column pgflow.step_states.made is 'a wide map''s next index to make';
comment on column pgflow.step_states.sent is 'a wide map''s next index to send';
comment on column pgflow.step_states.make_message_id is 'its message in the clock queue while tasks are still to be made';
comment on column pgflow.step_states.error is '{"type", "message", "attempts"} of a failed or exhausted step';

create table pgflow.workers (
  worker_id uuid primary key,
  queue_name text not null,
  function_name text not null,
  started_at timestamptz not null default now(),
  deprecated_at timestamptz,
  stopped_at timestamptz,
  last_heartbeat_at timestamptz not null default now(),
  info jsonb
);
create index workers_by_queue on pgflow.workers (queue_name);
create index workers_by_heartbeat on pgflow.workers (last_heartbeat_at);
comment on column pgflow.workers.info is 'host, pid, release of a worker of ours';

create table pgflow.worker_functions (
  function_name text primary key,
  enabled boolean not null default true,
  debounce interval not null default interval '6 seconds',
  last_invoked_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint worker_functions_debounce_check check (debounce >= interval '1 second')
);

create table pgflow.step_tasks (
  -- no foreign key of its own: its step state has one, and a check of it for each task costs as much as the row
  flow_slug text not null,
  run_id uuid not null references pgflow.runs (run_id),
  step_slug text not null,
  message_id bigint,
  task_index int not null default 0,
  status text not null default 'queued',
  attempts_count int not null default 0,
  error_message text,
  output jsonb,
  queued_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  failed_at timestamptz,
  last_worker_id uuid references pgflow.workers (worker_id) on delete set null,
  requeued_count int not null default 0,
  last_requeued_at timestamptz,
  permanently_stalled_at timestamptz,
  queue_name text,
  item jsonb,
  lease timestamptz,
  crashes_count int not null default 0,
  uncounted int not null default 0,
  cancelled_at timestamptz,
  refused_at timestamptz,
  constraint step_tasks_pkey primary key (run_id, step_slug, task_index),
  constraint step_tasks_run_id_step_slug_fkey foreign key (run_id, step_slug)
    references pgflow.step_states (run_id, step_slug),
  constraint valid_status check (status in ('queued', 'started', 'completed', 'failed', 'cancelled', 'skipped')),
  constraint step_tasks_attempts_count_check check (attempts_count >= 0),
  constraint step_tasks_requeued_count_check check (requeued_count >= 0),
  constraint output_valid_only_for_completed check (output is null or status in ('completed', 'failed')),
  constraint completed_at_or_failed_at check (not (completed_at is not null and failed_at is not null)),
  constraint started_at_is_after_queued_at check (started_at is null or started_at >= queued_at),
  constraint completed_at_is_after_started_at check (completed_at is null or completed_at >= started_at),
  constraint failed_at_is_after_started_at check (failed_at is null or failed_at >= started_at)
) with (fillfactor = 70);
-- Status and counters carry no index: their updates stay HOT (engine rule).
create index step_tasks_by_message on pgflow.step_tasks (message_id, queue_name);
comment on column pgflow.step_tasks.item is 'a map task''s element, stored once';
comment on column pgflow.step_tasks.lease is 'until when its worker may hold it unheard; null: claimed by start_tasks, or not started';
comment on column pgflow.step_tasks.refused_at is 'since when workers without its handler have come across it';
comment on column pgflow.step_tasks.uncounted is 'attempts that did not use up the budget: crashes, releases';

create table pgflow.task_errors (
  id bigint generated always as identity primary key,
  run_id uuid not null references pgflow.runs (run_id) on delete cascade,
  step_slug text not null,
  task_index int not null,
  attempt int not null,
  type text not null,
  message text not null,
  trace text,
  final boolean not null,
  retry_at timestamptz,
  created_at timestamptz not null default now()
);
create index task_errors_by_run on pgflow.task_errors (run_id, id);

create table pgflow.missing_handlers (
  handler text primary key,
  since timestamptz not null
);
comment on table pgflow.missing_handlers is 'handlers that a worker refused and no worker has been given since';

create table pgflow.audit (
  id bigint generated always as identity primary key,
  action text not null,
  subject text not null,
  details jsonb,
  who text not null default session_user,
  created_at timestamptz not null default now()
);

create type pgflow.step_task_record as (
  flow_slug text,
  run_id uuid,
  step_slug text,
  input jsonb,
  msg_id bigint,
  task_index int,
  flow_input jsonb
);

-- Sets travel between the engine's functions as arrays of these.

-- One reported result: what the attempt `attempt` of `worker` came to. Nulls in either match any (pgflow's door).
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
create type pgflow._done as (
  run_id uuid,
  flow_slug text,
  step_slug text,
  queue_name text,
  message_id bigint,
  archive boolean
);

-- One step about to start: how many tasks (null: not looked at yet), from which items (null: none).
create type pgflow._start as (
  run_id uuid,
  flow_slug text,
  step_slug text,
  tasks int,
  items jsonb
);

-- One step that has ended: completed, skipped (dependents go on) or upstream (dependents are skipped too).
create type pgflow._ended as (
  run_id uuid,
  flow_slug text,
  step_slug text,
  kind text
);

-- One step whose failure ends its run.
create type pgflow._failure as (
  run_id uuid,
  step_slug text,
  error jsonb
);

-- Rows of the two tables that clients also write by hand get their flow's queue.
create function pgflow._fill_queue_name() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  select coalesce(f.queue_name, f.flow_slug) into new.queue_name from pgflow.flows f where f.flow_slug = new.flow_slug;
  return new;
end
$$;
create trigger fill_queue_name before insert on pgflow.steps
  for each row when (new.queue_name is null) execute function pgflow._fill_queue_name();
create trigger fill_queue_name before insert on pgflow.step_tasks
  for each row when (new.queue_name is null) execute function pgflow._fill_queue_name();
