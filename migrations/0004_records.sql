-- What is recorded beside runs, and the queue of timers.
--
--   events               events and decisions that were sent to runs
--   missing_handlers     handlers that no worker has
--   audit                who deployed, activated, cancelled or decided, and when (S-24)
--   realtime             whose function realtime.send may be called

create table pgflow.events (
  run_id uuid not null references pgflow.runs (run_id) on delete cascade,
  kind text not null,
  name text not null,
  data jsonb not null default 'null',
  sent_by text not null default session_user,
  login text not null default session_user,
  created_at timestamptz not null default now(),
  request uuid,
  steps text[],
  primary key (run_id, kind, name),
  constraint events_kind_check check (kind in ('event', 'decision'))
);
comment on column pgflow.events.sent_by is 'the name that the sender gave, by default the login';
comment on table pgflow.events is
  'events by name and decisions by step; the first of each name stands';
comment on column pgflow.events.request is
  'the id of the request that brought it: a repeat of that request gets the same answer';
comment on column pgflow.events.steps is 'the steps that the request completed at once';

create table pgflow.missing_handlers (
  handler text primary key,
  since timestamptz not null
);
comment on table pgflow.missing_handlers is
  'handlers that a worker refused and no worker has been given since';

create table pgflow.audit (
  id bigint generated always as identity primary key,
  action text not null,
  subject text not null,
  details jsonb,
  who text not null default session_user,
  login text not null default session_user,
  created_at timestamptz not null default now()
);
comment on column pgflow.audit.who is 'the name that the caller gave, by default the login';

-- Not the function itself: that would not survive a restored dump, nor a server upgrade.
create table pgflow.realtime (
  owner text primary key
);
comment on table pgflow.realtime is
  'the owner of the function realtime.send that the owner of this schema has registered';

-- Here and not with the first timer, whose transaction would keep every other start waiting.
do $$ begin perform pgmq.create('pgflow__timers'); end $$;
