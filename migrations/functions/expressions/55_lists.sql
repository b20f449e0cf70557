-- The functions of the expression language that make or read lists and objects.

-- Calls a function that makes or reads lists and objects.
create or replace function pgflow.expression_list_call(p_name text, p_args jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_arg constant jsonb := p_args[1];
  v_other constant jsonb := p_args[2];
begin
  if jsonb_typeof(v_arg) = 'object' and p_name <> 'merge' then
    perform pgflow.expression_check_items((select count(*) from jsonb_object_keys(v_arg)));
  end if;
  case p_name
    when 'any' then
      return to_jsonb((
        select coalesce(bool_or(pgflow.expression_truth(value)), false)
        from jsonb_array_elements(v_arg)));
    when 'all' then
      return to_jsonb((
        select coalesce(bool_and(pgflow.expression_truth(value)), true)
        from jsonb_array_elements(v_arg)));
    when 'keys' then
      return to_jsonb(array(select jsonb_object_keys(v_arg)));
    when 'values' then
      return to_jsonb(array(select value from jsonb_each(v_arg)));
    when 'items' then
      return to_jsonb(array(select jsonb_build_array(key, value) from jsonb_each(v_arg)));
    when 'merge' then
      return (select coalesce(jsonb_object_agg(key, value order by nr), '{}')
              from unnest(p_args) with ordinality as args (arg, nr), jsonb_each(arg));
    when 'range' then
      return pgflow.expression_range(p_args);
    when 'flatten' then
      return pgflow.expression_flatten(v_arg);
    when 'chunk' then
      return pgflow.expression_chunk(v_arg, pgflow.expression_integer(p_name, v_other));
    when 'product' then
      perform pgflow.expression_check_items(
        jsonb_array_length(v_arg)::numeric * jsonb_array_length(v_other));
      return to_jsonb(array(
        select jsonb_build_array(a.value, b.value)
        from jsonb_array_elements(v_arg) with ordinality as a (value, nr),
          jsonb_array_elements(v_other) with ordinality as b (value, nr)
        order by a.nr, b.nr));
    when 'sorted' then
      perform pgflow.expression_check_items(jsonb_array_length(v_arg));
      perform pgflow.expression_check_comparable(p_name, v_arg);
      if jsonb_typeof(v_arg -> 0) = 'number' then
        return to_jsonb(array(
          select value from jsonb_array_elements(v_arg) with ordinality
          order by pgflow.expression_number(value), ordinality));
      end if;
      return to_jsonb(array(
        select value from jsonb_array_elements(v_arg) order by (value #>> '{}') collate "C"));
  end case;
end
$$;

-- range(stop), range(start, stop), range(start, stop, step), as Python's.
create or replace function pgflow.expression_range(p_args jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_start numeric := 0;
  v_stop numeric := pgflow.expression_integer('range', p_args[1]);
  v_step numeric := 1;
  v_count numeric;
begin
  if cardinality(p_args) > 1 then
    v_start := v_stop;
    v_stop := pgflow.expression_integer('range', p_args[2]);
  end if;
  if cardinality(p_args) > 2 then
    v_step := pgflow.expression_integer('range', p_args[3]);
    if v_step = 0 then
      raise exception using errcode = 'PF010', message = 'range() needs a step other than 0';
    end if;
  end if;
  v_count := greatest(0, div(v_stop - v_start + v_step - sign(v_step), v_step));
  perform pgflow.expression_check_items(v_count);
  return to_jsonb(array(
    select v_start + g * v_step from generate_series(0, v_count::int - 1) g));
end
$$;

-- Joins the lists of a list into one.
create or replace function pgflow.expression_flatten(p_lists jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_other jsonb;
begin
  select value into v_other from jsonb_array_elements(p_lists)
  where jsonb_typeof(value) <> 'array' limit 1;
  if found then
    raise exception using errcode = 'PF010',
      message = format('flatten() needs a list of lists, not %s in it',
        pgflow.expression_kind(v_other));
  end if;
  perform pgflow.expression_check_items((
    select coalesce(sum(jsonb_array_length(value)), 0) from jsonb_array_elements(p_lists)));
  return to_jsonb(array(
    select inside.value
    from jsonb_array_elements(p_lists) with ordinality as outside (value, nr),
      jsonb_array_elements(outside.value) with ordinality as inside (value, nr)
    order by outside.nr, inside.nr));
end
$$;

-- Cuts a list into lists of a size; the last may be shorter.
create or replace function pgflow.expression_chunk(p_list jsonb, p_size numeric) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_size < 1 then
    raise exception using errcode = 'PF010', message = 'chunk() needs a size of at least 1';
  end if;
  perform pgflow.expression_check_items(ceil(jsonb_array_length(p_list) / p_size));
  return (select coalesce(jsonb_agg(part order by number), '[]')
          from (select jsonb_agg(value order by ordinality) as part,
            div(ordinality - 1, p_size) as number
                from jsonb_array_elements(p_list) with ordinality group by 2) as parts);
end
$$;
