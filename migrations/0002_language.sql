-- What the whole language needs of the tables: edges, finally, waits, child flows, repeated calls, tolerated failures.
--
-- Every default means "as before": flows made earlier, and those of pgflow's door, behave as they did.

alter table pgflow.flows
  add column input_schema jsonb,
  add column output jsonb,
  add column labels jsonb,
  add column timeout_ms bigint,
  add column fail_fast boolean not null default true,
  add column catches boolean not null default false,
  add column finally_steps int not null default 0,
  add column repeats boolean not null default false,
  add column tame boolean not null generated always as (fail_fast and not catches and finally_steps = 0) stored,
  add column plain_end boolean not null generated always as (
    fail_fast and not catches and finally_steps = 0 and output is null and timeout_ms is null) stored;
comment on column pgflow.flows.input_schema is 'JSON Schema of the whole run input, where the flow has one instead of fields';
comment on column pgflow.flows.output is '{"ast", "paths"} of `output`; null = the outputs of the leaf steps';
comment on column pgflow.flows.labels is 'for people: shown with each run and searched by; the active words, not part of the version';
comment on column pgflow.flows.catches is 'some edge is `failure` or `any`: a failed step need not fail the run';
comment on column pgflow.flows.finally_steps is 'how many steps run after all others have ended';
comment on column pgflow.flows.repeats is 'some step is called again until an expression holds';
comment on column pgflow.flows.tame is 'a failed step fails its run at once, with nothing to do afterwards: the short way';
comment on column pgflow.flows.plain_end is 'a run whose last step ends is completed, without a second look';

alter table pgflow.steps
  add column action text not null default 'handler',
  add column is_finally boolean not null default false,
  add column max_parallel int,
  add column soft boolean not null default false,
  drop column plain,
  add constraint steps_action_check check (action in ('handler', 'flow', 'wait'));
alter table pgflow.steps
  add column plain boolean not null generated always as (
    step_type = 'single' and condition is null and action <> 'wait'
    and required_input_pattern is null and forbidden_input_pattern is null) stored;
comment on column pgflow.steps.plain is 'one task, no condition: what starts without being looked at';
comment on column pgflow.steps.is_finally is 'runs after all steps that are not have ended';
comment on column pgflow.steps.max_parallel is 'so many tasks of one run at once; null = as many as there are workers for';
comment on column pgflow.steps.soft is 'a map that outlives failed items: `tolerate`, or `fail_fast: false`';
comment on column pgflow.steps.spec is 'what is read off the hot path: with, timeout_ms, base_delay_ms, max_delay_ms, backoff, jitter, start_delay_ms, retry_if, repeat, tolerate, fail_fast, flow, wait';

alter table pgflow.deps
  add column edge text not null default 'success',
  add constraint deps_edge_check check (edge in ('success', 'failure', 'any'));

alter table pgflow.runs
  add column outcome text,
  add column parent_run_id uuid,
  add column parent_step text,
  add column parent_index int,
  add column depth int not null default 0,
  add column labels jsonb,
  add column deadline_message_id bigint,
  add constraint runs_outcome_check check (outcome in ('completed', 'failed', 'cancelled'));
create index runs_by_parent on pgflow.runs (parent_run_id, parent_step, parent_index) where parent_run_id is not null;
comment on column pgflow.runs.outcome is 'how it ends, known before its finally steps have ended; while steps are still being stopped, why';
comment on column pgflow.runs.parent_run_id is 'the run one of whose steps this run is; no foreign key, it may be gone';
comment on column pgflow.runs.depth is 'how many parents stand above it';
comment on column pgflow.runs.deadline_message_id is 'its message in the clock queue, due when its timeout passes';

alter table pgflow.step_states
  add column failed_tasks int not null default 0,
  add column wakes_at timestamptz;
comment on column pgflow.step_states.make_message_id is 'its message in the clock queue: tasks to be made, a wait''s end';
comment on column pgflow.step_states.failed_tasks is 'items of a soft map that have failed for good';
comment on column pgflow.step_states.wakes_at is 'when a wait ends by itself';

alter table pgflow.step_tasks
  add column iteration int not null default 0,
  add column child_run_id uuid;
comment on column pgflow.step_tasks.iteration is 'how many times a repeated step was called again';
comment on column pgflow.step_tasks.child_run_id is 'the run that is this task''s work, of a step that runs a flow';

-- What was said to runs from outside: the first word stands.
create table pgflow.events (
  run_id uuid not null references pgflow.runs (run_id) on delete cascade,
  kind text not null,
  name text not null,
  data jsonb not null default 'null',
  said_by text not null default session_user,
  created_at timestamptz not null default now(),
  primary key (run_id, kind, name),
  constraint events_kind_check check (kind in ('event', 'decision'))
);
comment on table pgflow.events is 'events by name and decisions by step; a later one of the same name changes nothing';

-- One step that has come to its end by a failure, and what its policy makes of it: fail, skip, skip-cascade.
create type pgflow._fault as (
  run_id uuid,
  flow_slug text,
  step_slug text,
  task_index int,
  policy text,
  error jsonb,
  message text
);

-- These take one argument more than before.
drop function if exists pgflow.deploy(jsonb, text, text[], text, text, jsonb, boolean);
drop function if exists pgflow.start_run(text, jsonb, text, text);
drop function if exists pgflow.list_runs(text, text, interval, int);
drop function if exists pgflow._begin(pgflow.flows, jsonb[], uuid[], text, text);
drop function if exists pgflow._exhaust(jsonb);
drop function if exists pgflow._count_down(pgflow._done[]);
drop function if exists pgflow._settle_failures(pgflow._report[]);
drop function if exists pgflow._look_at(pgflow.runs, pgflow.steps);
drop function if exists pgflow._environment(pgflow.runs, jsonb);
drop function if exists pgflow._define_steps(text, jsonb, text[]);
drop function if exists pgflow._lower_dependents(pgflow._ended[]);
drop function if exists pgflow._queue_ids(text);

-- Two foreign keys that follow from others, of which each check costs as much as a row: a task's step state has a run,
-- and a state's step has a flow.
alter table pgflow.step_tasks drop constraint step_tasks_run_id_fkey;
alter table pgflow.step_states drop constraint step_states_flow_slug_fkey;

-- A third, checked at every claim for every task: doors that claim look once whether their worker is known, and a
-- worker that is deleted is forgotten by its tasks as before.
alter table pgflow.step_tasks drop constraint step_tasks_last_worker_id_fkey;
create function pgflow._forget_workers() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  update pgflow.step_tasks t set last_worker_id = null where t.last_worker_id in (select w.worker_id from gone w);
  return null;
end
$$;
create trigger forget_workers after delete on pgflow.workers
  referencing old table as gone for each statement execute function pgflow._forget_workers();

-- Room in each page for the versions that a row will have (made, claimed, completed): updates then stay in their page and
-- touch no index. It costs disk, and saves a sixth of the log of changes that is written for a task.
alter table pgflow.runs set (fillfactor = 45);
alter table pgflow.step_states set (fillfactor = 45);
alter table pgflow.step_tasks set (fillfactor = 45);
-- Every run's status changes once at least; lists by status read the newest runs and pass over the others.
drop index pgflow.runs_by_status;

-- With the dependency in it, no plan comes to the edges of a step by half of a key.
drop index pgflow.deps_by_step;
create index deps_by_step on pgflow.deps (flow_slug, step_slug, dep_slug);
