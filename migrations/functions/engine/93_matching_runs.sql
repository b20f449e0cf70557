-- The filters of runs: one meaning for every list and every command that takes them.
--
--   flow       the name of their flow
--   version    their version begins with this
--   status     as stored; "waiting": they go on, but none of their steps has a task for a worker,
--              so they wait for events, times and child runs
--   since      created within this time, in seconds
--   older      created longer ago than this, in seconds
--   labels     they have all of these
--   schedule   a tick of a schedule whose name begins with this started them, or its backfill
--   parent     the run whose step started them
--   error      the type or the message of their error contains this text, in any case
--   children   true: child runs too, of which a run may have thousands (with parent they are meant)
--
-- An absent filter, and one that is null, matches all. Runs are read in the order of their start,
-- by an index of the fewest runs that the filters leave, so that reading ends with the limit, with
-- `since`, or after a number of runs. The statement is made of the filters that are there, for a
-- plan of all of them would use no such index.

-- The condition on x that all of these filters make; $1 is the filters.
create or replace function pgflow._run_condition(p_filters jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select concat_ws(' and ',
    case when p_filters -> 'children' is distinct from 'true' and not p_filters ? 'parent'
      then 'x.parent_run_id is null' end,
    string_agg(c.condition, ' and ' order by c.name), 'true')
  from (values
    ('flow', $sql$coalesce(x.flow_name, x.flow_slug) = $1 ->> 'flow'$sql$),
    ('version', $sql$starts_with(split_part(x.flow_slug, '__', 2), $1 ->> 'version')$sql$),
    ('status', case p_filters ->> 'status'
      when 'started' then $sql$x.status = 'started'$sql$
      when 'waiting' then $sql$x.status = 'started' and not exists (
        select 1 from pgflow.step_states s
        join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
        where s.run_id = x.run_id and s.status = 'started' and d.action = 'handler')$sql$
      else $sql$x.status = $1 ->> 'status'$sql$ end),
    ('labels', $sql$x.labels @> ($1 -> 'labels')$sql$),
    ('schedule', $sql$starts_with(x.run_key, 'schedule:' || ($1 ->> 'schedule'))$sql$),
    ('parent', $sql$x.parent_run_id = ($1 ->> 'parent')::uuid$sql$),
    ('error', $sql$strpos(lower(concat_ws(': ', x.error ->> 'type', x.error ->> 'message')),
      lower($1 ->> 'error')) > 0$sql$)) c(name, condition)
  where p_filters ? c.name
$$;

-- The flows whose runs these filters leave, a version of a flow being one of its own: those that
-- have runs, for some flows are deployed often. Null for all, and for more than a statement should
-- name.
create or replace function pgflow._run_slugs(p_filters jsonb) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_filters ?| array['flow', 'version'] and count(*) <= 300
    then coalesce(array_agg(k.flow_slug), '{}') end
  from (
    select d.flow_slug from pgflow.definitions d
    where (not p_filters ? 'flow' or d.name = p_filters ->> 'flow')
      and (not p_filters ? 'version' or starts_with(d.version, p_filters ->> 'version'))
    union all
    select f.flow_slug from pgflow.flows f
    where f.origin = 'pgflow' and f.flow_slug = p_filters ->> 'flow'
      and not p_filters ? 'version') k
  cross join lateral (select from pgflow.runs x where x.flow_slug = k.flow_slug limit 1) l
$$;

-- The condition of a source of few runs, which are read and sorted: the children of a run, or those
-- that go on, at most 10,000. Null where there is none; more runs are found among the newest ones.
create or replace function pgflow._few_runs(p_filters jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- `is not null`: children are found by the index of their parents
  v_condition text := case
    when p_filters ? 'parent' then format(
      'x.parent_run_id = %L::uuid and x.parent_run_id is not null', p_filters ->> 'parent')
    when coalesce(p_filters ->> 'status', case when p_filters ? 'error' then 'started' end)
      in ('started', 'waiting') then $sql$x.status = 'started'$sql$ end;
  v_count int;
begin
  if v_condition is null or p_filters ? 'parent' then
    return v_condition; -- however many children: among all runs they are fewer still
  end if;
  execute format('select count(*) from (select from pgflow.runs x where %s limit 10001) k',
    v_condition) into v_count;
  return case when v_count <= 10000 then v_condition end;
end
$$;

-- The statement that reads the runs among which those of these filters are, newest first, $6 at
-- most. It joins sources, each of which is in that order by itself: $2 to $5 are the bounds of the
-- start, `since`, `older`, and the run before which to begin (`before` and `before_id`).
create or replace function pgflow._run_source(p_filters jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_range text := concat_ws(' and ', 'true',
    case when p_filters ? 'since' then 'x.started_at >= $2' end,
    case when p_filters ? 'older' then 'x.started_at < $3' end,
    case when p_filters ? 'before'
      then 'x.started_at <= $4 and (x.started_at < $4 or x.run_id > $5)' end);
  v_few text := pgflow._few_runs(p_filters);
  v_slugs text[];
  v_conditions text[] := '{}';
  v_sources text[];
begin
  if p_filters ->> 'status' in ('failed', 'cancelled') and not p_filters ? 'parent' then
    v_conditions := array[format('x.status = %L', p_filters ->> 'status')];
  elsif v_few is null then
    v_slugs := pgflow._run_slugs(p_filters);
    v_conditions := case
      when v_slugs is null then array['true']
      else array(select format('x.flow_slug = %L', u.slug) from unnest(v_slugs) u(slug)) end;
  elsif not p_filters ?| array['parent', 'status'] then -- the text of an error
    v_conditions := array[$sql$x.status = 'failed'$sql$, $sql$x.status = 'cancelled'$sql$];
  end if;
  v_sources := array(
    select format('select x.* from pgflow.runs x where %s and %s', c.condition, v_range)
    from unnest(v_conditions) c(condition));
  if v_few is not null then
    -- `offset 0`: or the runs would be read in the order of their start, to save the sort
    v_sources := v_sources || format(
      'select x.* from (select x.* from pgflow.runs x where %s offset 0) x where %s',
      v_few, v_range);
  end if;
  return (
    select format('select u.* from (%s) u order by u.started_at desc, u.run_id limit $6',
      coalesce(string_agg(format('(%s order by x.started_at desc, x.run_id limit $6)', k.source),
        ' union all '), 'select x.* from pgflow.runs x where false'))
    from unnest(v_sources) k(source));
end
$$;

-- The columns of runs as lists read them: input and output are null. A list shows neither, and a
-- run that is passed on whole would be read with all of its 2 MiB.
create or replace function pgflow._listed_columns() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(case
    when a.attname in ('input', 'output') then 'null::jsonb' else format('x.%I', a.attname) end,
    ', ' order by a.attnum)
  from pg_attribute a
  where a.attrelid = 'pgflow.runs'::regclass and a.attnum > 0 and not a.attisdropped
$$;

-- The runs that all of these filters match, newest first, without input and output; the last of
-- them, or the p_look-th run that was looked at, is where the next ones begin (`before`,
-- `before_id`). With p_at_bound, that p_look-th run instead, whether it matches or not; none if
-- there are fewer. Raises PF006 for a limit or a time back that is none.
create or replace function pgflow._matching_runs(
  p_filters jsonb, p_limit int, p_look int default null, p_at_bound boolean default false
) returns setof pgflow.runs
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_filters jsonb := jsonb_strip_nulls(coalesce(p_filters, '{}'));
begin
  return query execute format(
    'select %s from (%s) x where %s order by x.started_at desc, x.run_id limit $7 offset $8',
    pgflow._listed_columns(), pgflow._run_source(v_filters),
    case when p_at_bound then 'true' else pgflow._run_condition(v_filters) end)
  using v_filters,
    pgflow.clock() - pgflow._checked_age(make_interval(secs => (v_filters ->> 'since')::float8)),
    pgflow.clock() - pgflow._checked_age(make_interval(secs => (v_filters ->> 'older')::float8)),
    (v_filters ->> 'before')::timestamptz, (v_filters ->> 'before_id')::uuid, p_look,
    pgflow._checked_limit(p_limit), case when p_at_bound then greatest(p_look - 1, 0) else 0 end;
end
$$;
