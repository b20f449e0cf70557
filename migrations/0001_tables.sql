-- The tables of the engine.
--
-- The schema is the one that clients of pgflow know: they rely on the names, types, defaults and
-- constraint names. Columns of our own come last in each table, nullable or with a default that
-- means "as pgflow does".
--
--   flows, steps, deps   an immutable graph; a changed flow is a new slug
--   definitions          names and versions above the slugs:
--                        order, version 8c41e07b52d1 = flow order__8c41e07b52d1
--   runs, step_states    one row per run, one per step of it. Three counters are the scheduler:
--                        runs.remaining_steps, step_states.remaining_deps,
--                        step_states.remaining_tasks
--   step_tasks           one row per task, paired with one message (queue_name, message_id)
--                        while the task is live
--   task_errors          one row per failed attempt; the success path writes none
--
-- The files after it have the rest.
-- A status is text, and callers may write rows by hand, so the checks here are only those that
-- pgflow's callers know.
--
-- Fill factor: a page keeps room for the versions that a row will have (made, claimed,
-- completed). Updates then stay in their page and touch no index. It costs disk, and saves a
-- sixth of the write-ahead log of a task. Status and counters carry no index for the same reason.
--
-- The large tables are vacuumed when 2 in 100 of their rows are dead, instead of 20.
--
-- Foreign keys that follow from others are left out: the check of one for each task costs as
-- much as the row.

create function pgflow.is_valid_slug(slug text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(slug ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$' and slug <> 'run', false)
$$;

-- Definitions

create table pgflow.flows (
  flow_slug text primary key,
  opt_max_attempts int not null default 3,
  opt_base_delay int not null default 1,
  opt_timeout int not null default 60,
  created_at timestamptz not null default now(),
  queue_name text,
  origin text not null default 'pgflow',
  input_spec jsonb,
  input_schema jsonb,
  output jsonb,
  labels jsonb,
  timeout_ms bigint,
  fail_fast boolean not null default true,
  catches boolean not null default false,
  finally_steps int not null default 0,
  repeats boolean not null default false,
  runs_flows boolean not null default false,
  fails_at_once boolean not null generated always as (
    fail_fast and not catches and finally_steps = 0) stored,
  ends_simply boolean not null generated always as (
    fail_fast and not catches and finally_steps = 0
    and output is null and timeout_ms is null and not runs_flows
    and not coalesce(heard ? 'completed', false) and gate is null and not scheduled) stored,
  after jsonb,
  heard jsonb,
  retention jsonb,
  reopened boolean not null default false,
  gate jsonb,
  gated boolean not null default false,
  priority int not null default 0,
  scheduled boolean not null default false,
  constraint slug_is_valid check (pgflow.is_valid_slug(flow_slug)),
  constraint opt_max_attempts_is_nonnegative check (opt_max_attempts >= 0),
  constraint opt_base_delay_is_nonnegative check (opt_base_delay >= 0),
  constraint opt_timeout_is_positive check (opt_timeout > 0),
  constraint flows_origin_check check (origin in ('pgflow', 'deploy'))
);
comment on column pgflow.flows.queue_name is 'its pgmq queue; null = the slug';
comment on column pgflow.flows.origin is
  'pgflow (made by create_flow) or deploy: their runs behave differently in places';
comment on column pgflow.flows.input_spec is
  'name -> JSON Schema of each field of the run input; null of a deployed flow: it takes only {}';
comment on column pgflow.flows.input_schema is
  'JSON Schema of the whole run input, where the flow has one instead of fields';
comment on column pgflow.flows.output is
  '{"ast", "paths"} of `output`; null = the outputs of the leaf steps';
comment on column pgflow.flows.labels is
  'shown with each run and searched by; not part of the version';
comment on column pgflow.flows.timeout_ms is 'how long a run may take; null = no limit';
comment on column pgflow.flows.fail_fast is 'an unhandled failure ends the run at once';
comment on column pgflow.flows.catches is
  'some edge is `failure` or `any`: a failed step need not fail the run';
comment on column pgflow.flows.finally_steps is
  'number of steps that run after all others have ended';
comment on column pgflow.flows.repeats is 'some step is called again until an expression holds';
comment on column pgflow.flows.runs_flows is
  'some step runs a flow: a run ends when its child runs have ended';
comment on column pgflow.flows.fails_at_once is
  'a failed step fails its run at once, with nothing to do afterwards: the short way';
comment on column pgflow.flows.ends_simply is
  'the end of the last step completes the run: nothing else is to be decided';
comment on column pgflow.flows.after is '{"flows", "status"}: the ends of runs that start it';
comment on column pgflow.flows.heard is 'status -> names of the flows that hear this end';
comment on column pgflow.flows.retention is
  '{"completed", "failed"}: the milliseconds for which ended runs are kept, null = for ever; '
  'missing = 30 days; not part of the version';
comment on column pgflow.flows.reopened is
  'a retry has deleted tasks of it: their attempts are counted on (step_states.past_attempts)';
comment on column pgflow.flows.gate is
  '{"gate", "key"}: the gate at which its runs wait before they begin; null = none (0006_limits)';
comment on column pgflow.flows.gated is 'it, or some step of it, has a gate';
comment on column pgflow.flows.priority is 'its tasks are treated as that many minutes older';

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
  action text not null default 'handler',
  is_finally boolean not null default false,
  max_parallel int,
  tolerant boolean not null default false,
  starts_simply boolean not null generated always as (
    step_type = 'single' and condition is null and action <> 'wait'
    and required_input_pattern is null and forbidden_input_pattern is null) stored,
  handles boolean not null default true,
  gate jsonb,
  priority int not null default 0,
  constraint steps_pkey primary key (flow_slug, step_slug),
  constraint steps_step_slug_check check (pgflow.is_valid_slug(step_slug)),
  constraint steps_step_type_check check (step_type in ('single', 'map')),
  constraint steps_deps_count_check check (deps_count >= 0),
  constraint opt_max_attempts_is_nonnegative
    check (opt_max_attempts is null or opt_max_attempts >= 0),
  constraint opt_base_delay_is_nonnegative check (opt_base_delay is null or opt_base_delay >= 0),
  constraint opt_timeout_is_positive check (opt_timeout is null or opt_timeout > 0),
  constraint opt_start_delay_is_nonnegative check (opt_start_delay is null or opt_start_delay >= 0),
  constraint required_input_pattern_is_object
    check (required_input_pattern is null or jsonb_typeof(required_input_pattern) = 'object'),
  constraint forbidden_input_pattern_is_object
    check (forbidden_input_pattern is null or jsonb_typeof(forbidden_input_pattern) = 'object'),
  constraint when_unmet_is_valid check (when_unmet in ('fail', 'skip', 'skip-cascade')),
  constraint when_exhausted_is_valid check (when_exhausted in ('fail', 'skip', 'skip-cascade')),
  constraint steps_action_check check (action in ('handler', 'flow', 'wait'))
);
-- Not of two columns: the planner would look for a step among all of its flow.
create unique index steps_by_number on pgflow.steps ((flow_slug || '/' || step_index::text));
comment on column pgflow.steps.queue_name is
  'the pgmq queue of its tasks; of steps that run a flow or wait, the timer queue';
comment on column pgflow.steps.condition is '{"ast", "paths"} of `if`; null = always';
comment on column pgflow.steps.map_items is
  '{"ast", "paths"} of `map`; null of a map step = the dependency''s output, or the run input';
comment on column pgflow.steps.fixed_tasks is
  '`initial_tasks`: number of tasks, each with the step''s own input';
comment on column pgflow.steps.spec is
  'read off the hot path: with, timeout_ms, base_delay_ms, max_delay_ms, backoff, jitter, '
  'start_delay_ms, retry_if, repeat, tolerate, fail_fast, flow, wait; '
  'null = made by add_step';
comment on column pgflow.steps.is_finally is 'runs after all steps that are not have ended';
comment on column pgflow.steps.max_parallel is
  'maximum number of live tasks of one run; null = as many as there are workers for';
comment on column pgflow.steps.tolerant is
  'a map that outlives failed items: `tolerate`, or `fail_fast: false`';
comment on column pgflow.steps.starts_simply is
  'one task, no condition: starts in the update that freed it, without being evaluated';
comment on column pgflow.steps.handles is 'false: it leaves failures before it unhandled';
comment on column pgflow.steps.gate is
  '{"concurrency": {"gate", "key"}, "rate": {"gate", "key"}}: the gates at which its tasks wait, '
  'one after the other, before they are sent; null = none';
comment on column pgflow.steps.priority is 'that of its flow';

create table pgflow.deps (
  flow_slug text not null references pgflow.flows (flow_slug),
  dep_slug text not null,
  step_slug text not null,
  created_at timestamptz not null default now(),
  edge text not null default 'success',
  constraint deps_pkey primary key (flow_slug, dep_slug, step_slug),
  constraint deps_flow_slug_dep_slug_fkey foreign key (flow_slug, dep_slug)
    references pgflow.steps (flow_slug, step_slug),
  constraint deps_flow_slug_step_slug_fkey foreign key (flow_slug, step_slug)
    references pgflow.steps (flow_slug, step_slug),
  constraint deps_check check (dep_slug <> step_slug),
  constraint deps_edge_check check (edge in ('success', 'failure', 'any'))
);
-- With the dependency in it, no plan comes to the edges of a step by half of a key.
create index deps_by_step on pgflow.deps (flow_slug, step_slug, dep_slug);
comment on column pgflow.deps.dep_slug is 'the step depended upon';
comment on column pgflow.deps.edge is 'the end of that step that lets this one start';

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
comment on column pgflow.definitions.definition is 'the compiled form';
comment on column pgflow.definitions.source is 'the YAML text';
comment on column pgflow.definitions.git is 'commit, branch and state of the working copy';

-- Runs

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
  outcome text,
  parent_run_id uuid,
  parent_step text,
  parent_index int,
  depth int not null default 0,
  labels jsonb,
  deadline_message_id bigint,
  cancels uuid[],
  stopping text[],
  started_by text not null default session_user,
  chain int not null default 0,
  pruned_at timestamptz,
  retries int not null default 0,
  retried_at timestamptz,
  left_failed text[],
  dismissed_at timestamptz,
  trace text,
  waits_at text,
  scheduled_at timestamptz,
  debounced boolean,
  constraint runs_remaining_steps_check check (remaining_steps >= 0),
  constraint status_is_valid check (status in ('started', 'failed', 'completed', 'cancelled')),
  constraint completed_at_or_failed_at
    check (not (completed_at is not null and failed_at is not null)),
  constraint completed_at_is_after_started_at
    check (completed_at is null or completed_at >= started_at),
  constraint failed_at_is_after_started_at check (failed_at is null or failed_at >= started_at),
  constraint runs_outcome_check check (outcome in ('completed', 'failed', 'cancelled'))
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02);
-- No index by status of all runs, since each run's status changes: lists of completed runs read the
-- newest ones and pass over the others. The few that end badly have one (0008_views).
create index runs_by_flow on pgflow.runs (flow_slug, started_at);
create index runs_by_start on pgflow.runs (started_at desc, run_id);
create index runs_live on pgflow.runs (run_id) where status = 'started';
create unique index runs_by_key on pgflow.runs (run_key, flow_name) where run_key is not null;
create index runs_failed on pgflow.runs (failed_at desc, run_id)
  where status = 'failed' and dismissed_at is null and parent_run_id is null;
create index runs_by_parent on pgflow.runs (parent_run_id, parent_step, parent_index)
  where parent_run_id is not null;
create index runs_pruned on pgflow.runs (run_id) where pruned_at is not null;
comment on column pgflow.runs.run_key is
  'idempotency key of the start, unique for each flow name';
comment on column pgflow.runs.error is
  '{"type", "message", "step", "index"} of the failure that ended it, or the reason of a cancel';
comment on column pgflow.runs.outcome is
  'how it ends, known before its finally steps have ended; set while its steps are being stopped';
comment on column pgflow.runs.parent_run_id is
  'the run that started this one as a step; no foreign key, it may be gone';
comment on column pgflow.runs.depth is 'number of ancestors';
comment on column pgflow.runs.started_by is
  'the login that started it; a run that another one starts has that of the other';
comment on column pgflow.runs.trace is
  'W3C traceparent of the span that started it; null = not traced';
comment on column pgflow.runs.chain is 'number of runs before it that `after` joins to it';
comment on column pgflow.runs.deadline_message_id is
  'its message in the timer queue, due when its timeout passes';
comment on column pgflow.runs.cancels is
  'the ids of the requests to cancel it: the first stops it, the second ends it at once';
comment on column pgflow.runs.stopping is
  'the steps that a failure has stopped while recovery steps go on; null = it has stopped none';
comment on column pgflow.runs.pruned_at is
  'since when it is being deleted: it, or the tree of its child runs, is too large for one commit';
comment on column pgflow.runs.retries is
  'how often it was retried; of a child run, the number of its parent at its last retry';
comment on column pgflow.runs.left_failed is
  'the failed steps that the last retry left as they were: they stop nothing, but fail the run';
comment on column pgflow.runs.waits_at is 'the gate at which it waits; it has not begun';
comment on column pgflow.runs.dismissed_at is
  'when somebody dropped it from the list of failed runs';

create table pgflow.step_states (
  flow_slug text not null,
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
  timer_message_id bigint,
  failed_tasks int not null default 0,
  wakes_at timestamptz,
  output_bytes bigint,
  unsent int,
  past_attempts int,
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
  constraint initial_tasks_known_when_started
    check (status <> 'started' or initial_tasks is not null),
  constraint output_only_for_completed_or_null check (output is null or status = 'completed'),
  constraint skip_reason_matches_status
    check ((skip_reason is not null) = (status = 'skipped')),
  constraint completed_at_or_failed_at_or_skipped_at
    check (num_nonnulls(completed_at, failed_at, skipped_at) <= 1),
  constraint started_at_is_after_created_at check (started_at is null or started_at >= created_at),
  constraint skipped_at_is_after_created_at check (skipped_at is null or skipped_at >= created_at),
  constraint completed_at_is_after_started_at
    check (completed_at is null or completed_at >= started_at),
  constraint failed_at_is_after_started_at check (failed_at is null or failed_at >= started_at)
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02);
comment on column pgflow.step_states.error is
  '{"type", "message", "attempts"} of a failed or exhausted step';
comment on column pgflow.step_states.made is 'next index to make of a map with many tasks';
comment on column pgflow.step_states.sent is 'next index to send of a map with many tasks';
comment on column pgflow.step_states.timer_message_id is
  'its message in the timer queue: tasks to be made, or the end of a wait';
comment on column pgflow.step_states.failed_tasks is
  'number of items of a tolerant map that have failed for good';
comment on column pgflow.step_states.wakes_at is 'when a wait ends by itself';
comment on column pgflow.step_states.output_bytes is
  'of a map: the size of the outputs that its tasks have returned';
comment on column pgflow.step_states.unsent is
  'number of tasks without a message, of a step that a retry has begun again with its tasks';
comment on column pgflow.step_states.past_attempts is
  'attempts that its tasks had before a retry deleted them: new tasks count on from there';

create table pgflow.step_tasks (
  flow_slug text not null,
  run_id uuid not null,
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
  last_worker_id uuid,
  requeued_count int not null default 0,
  last_requeued_at timestamptz,
  permanently_stalled_at timestamptz,
  queue_name text,
  item jsonb,
  lease timestamptz,
  crashes_count int not null default 0,
  uncounted int not null default 0,
  cancelled_at timestamptz,
  iteration int not null default 0,
  child_run_id uuid,
  constraint step_tasks_pkey primary key (run_id, step_slug, task_index),
  constraint step_tasks_run_id_step_slug_fkey foreign key (run_id, step_slug)
    references pgflow.step_states (run_id, step_slug),
  constraint valid_status
    check (status in ('queued', 'started', 'completed', 'failed', 'cancelled', 'skipped')),
  constraint step_tasks_attempts_count_check check (attempts_count >= 0),
  constraint step_tasks_requeued_count_check check (requeued_count >= 0),
  constraint output_valid_only_for_completed
    check (output is null or status in ('completed', 'failed')),
  constraint completed_at_or_failed_at
    check (not (completed_at is not null and failed_at is not null)),
  constraint started_at_is_after_queued_at check (started_at is null or started_at >= queued_at),
  constraint completed_at_is_after_started_at
    check (completed_at is null or completed_at >= started_at),
  constraint failed_at_is_after_started_at check (failed_at is null or failed_at >= started_at)
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02);
create index step_tasks_by_message on pgflow.step_tasks (message_id, queue_name);
comment on column pgflow.step_tasks.attempts_count is 'raised by each claim';
comment on column pgflow.step_tasks.last_worker_id is
  'the worker of the last claim, registered then; it may have been deleted since';
comment on column pgflow.step_tasks.item is 'the element of a map task, stored once';
comment on column pgflow.step_tasks.lease is
  'end of the worker''s lease; null: claimed by start_tasks, or not started';
comment on column pgflow.step_tasks.crashes_count is 'attempts whose worker died or fell silent';
comment on column pgflow.step_tasks.uncounted is
  'attempts that did not use up the budget: crashes, releases, repeated calls';
comment on column pgflow.step_tasks.iteration is
  'number of times a repeated step was called again';
comment on column pgflow.step_tasks.child_run_id is
  'the child run of a step that runs a flow';

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
  created_at timestamptz not null default now(),
  past boolean not null default false
);
create index task_errors_by_run on pgflow.task_errors (run_id, id);
comment on column pgflow.task_errors.final is 'the task has no attempt left';
comment on column pgflow.task_errors.past is
  'of an attempt before the step was retried: it decides nothing any more';
