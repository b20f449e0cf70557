-- The filters of runs: one meaning for every list and every command that takes them.

-- The runs that all of these filters match, newest first:
--
--   flow       the name of their flow
--   version    their version begins with this
--   status     as stored; "waiting": they go on, but none of their steps has a task for a worker,
--              so they wait for events, times and child runs
--   since      created within this time, in seconds
--   older      created longer ago than this, in seconds
--   labels     they have all of these
--   parent     the run whose step started them
--   error      the type or the message of their error contains this text, in any case
--   children   true: child runs too, of which a run may have thousands (with parent they are meant)
--
-- An absent filter, and one that is null, matches all. Runs are read in the order of their start,
-- or by an index of fewer runs, so that reading ends with the limit or with `since`; the condition
-- is made of the filters that are there, for a plan of all of them would use no such index. Raises
-- PF006 for a limit or a time back that is none.
create or replace function pgflow._matching_runs(p_filters jsonb, p_limit int)
returns setof pgflow.runs
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_conditions jsonb := jsonb_build_object(
    'flow', $sql$coalesce(x.flow_name, x.flow_slug) = $1 ->> 'flow'$sql$,
    'version', $sql$starts_with(split_part(x.flow_slug, '__', 2), $1 ->> 'version')$sql$,
    'status', case p_filters ->> 'status'
      when 'started' then $sql$x.status = 'started'$sql$
      when 'waiting' then $sql$x.status = 'started' and not exists (
        select 1 from pgflow.step_states s
        join pgflow.steps d on d.flow_slug = s.flow_slug and d.step_slug = s.step_slug
        where s.run_id = x.run_id and s.status = 'started' and d.action = 'handler')$sql$
      else $sql$x.status = $1 ->> 'status'$sql$ end,
    'since', 'x.started_at >= $2', 'older', 'x.started_at < $3',
    'labels', $sql$x.labels @> ($1 -> 'labels')$sql$,
    'parent', $sql$x.parent_run_id = ($1 ->> 'parent')::uuid$sql$,
    'error', $sql$strpos(lower(concat_ws(': ', x.error ->> 'type', x.error ->> 'message')),
      lower($1 ->> 'error')) > 0$sql$);
  v_filters jsonb := jsonb_strip_nulls(coalesce(p_filters, '{}'));
  v_where text := (
    select string_agg(c.value, ' and ' order by c.key) from jsonb_each_text(v_conditions) c
    where v_filters ? c.key);
begin
  if v_filters -> 'children' is distinct from 'true' and not v_filters ? 'parent' then
    v_where := concat_ws(' and ', 'x.parent_run_id is null', v_where);
  end if;
  return query execute format(
    'select x.* from pgflow.runs x where %s order by x.started_at desc, x.run_id limit $4',
    coalesce(v_where, 'true'))
  using v_filters,
    pgflow.clock() - pgflow._checked_age(make_interval(secs => (v_filters ->> 'since')::float8)),
    pgflow.clock() - pgflow._checked_age(make_interval(secs => (v_filters ->> 'older')::float8)),
    pgflow._checked_limit(p_limit);
end
$$;
