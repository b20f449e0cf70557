-- Limits: how many runs or tasks go on at once, and how many attempts start in a time.
--
--   limits               the limit of each gate, as the active version of its flow has it
--   slots                what waits at a gate, and what was let in and counts
--
-- A slot is a row, not a counter: it belongs to a live run or task, so that the two can be compared
-- (invariant I9). Flows without a limit have no row here.

create table pgflow.limits (
  gate text primary key,
  flow_name text not null,
  step_slug text,
  places int not null,
  per interval,
  when_full text not null default 'queue',
  constraint limits_places_check check (places between 1 and 10000),
  constraint limits_when_full_check check (when_full in ('queue', 'skip', 'replace'))
);
comment on column pgflow.limits.gate is
  'flow:FLOW of runs, step:FLOW:STEP of tasks, rate:FLOW:STEP of the starts of attempts';
comment on column pgflow.limits.per is 'of a rate: the time in which `places` attempts may start';

create table pgflow.slots (
  nr bigint generated always as identity primary key,
  gate text not null,
  key text not null,
  run_id uuid not null,
  step_slug text,
  task_index int,
  held boolean not null default false,
  order_at timestamptz not null,
  not_before timestamptz not null,
  until timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index slots_waiting on pgflow.slots (gate, key, order_at, nr) where not held;
create index slots_held on pgflow.slots (gate, key) where held;
create index slots_by_holder on pgflow.slots (run_id, step_slug, task_index);
create index slots_by_end on pgflow.slots (until) where held and until is not null;
comment on table pgflow.slots is 'what waits at a gate (not held), and what was let in (held)';
comment on column pgflow.slots.key is 'the value of `key`; empty without one';
comment on column pgflow.slots.step_slug is 'null: a run waits, or was let in';
comment on column pgflow.slots.order_at is 'its place: when it asked, less the priority';
comment on column pgflow.slots.until is
  'held: when the start of an attempt counts no more; not held, and the first of its gate: when '
  'the message in the timer queue is due that opens this gate';
