-- The functions of the expression language. As pgflow_yaml/language/expressions/functions.py, with the same table of signatures.

-- Call a function by its name, after checking the number and the kinds of its arguments.
create or replace function pgflow.expression_call(p_name text, p_args jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kinds text := '';
  v_value jsonb;
begin
  for i in 1 .. cardinality(p_args) loop
    v_kinds := v_kinds || case jsonb_typeof(p_args[i]) when 'string' then 't' when 'number' then 'n' when 'array' then 'l'
      when 'object' then 'o' when 'boolean' then 'b' else 'z' end;
  end loop;
  if v_kinds !~ pgflow.expression_signature(p_name) then
    raise exception using errcode = 'PF010', message = pgflow.expression_misfit(p_name, p_args, v_kinds);
  end if;
  v_value := case
    when p_name in ('len', 'str', 'int', 'float', 'abs', 'min', 'max', 'sum', 'default')
      then pgflow.expression_scalar_call(p_name, p_args)
    when p_name in ('lower', 'upper', 'strip', 'split', 'join', 'replace', 'startswith', 'endswith', 'json', 'to_json')
      then pgflow.expression_text_call(p_name, p_args)
    else pgflow.expression_list_call(p_name, p_args)
  end;
  if pg_column_size(p_args) + pg_column_size(v_value) > 64 and p_name not in ('len', 'default') then
    perform pgflow.expression_charge_call(p_args || v_value);
  end if;
  return v_value;
end
$$;

-- Charge what a function walked over and made: an item, or a hundred characters, a visit; less than ten are free
-- (ten need more than the 64 bytes above).
create or replace function pgflow.expression_charge_call(p_values jsonb[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_value jsonb;
  v_items bigint := 0;
  v_characters bigint := 0;
begin
  foreach v_value in array p_values loop
    case jsonb_typeof(v_value)
      when 'array' then v_items := v_items + jsonb_array_length(v_value);
      when 'object' then v_items := v_items + (select count(*) from jsonb_object_keys(v_value));
      when 'string' then v_characters := v_characters + length(v_value #>> '{}');
      else null;
    end case;
  end loop;
  if v_items + v_characters / 100 >= 10 then
    perform pgflow.expression_charge(v_items + v_characters / 100);
  end if;
end
$$;

-- Give the kinds that a function takes as a pattern, one bracket (or dot) an argument:
-- n number, t text, l list, o object, b boolean, z null.
create or replace function pgflow.expression_signature(p_name text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_name
    when 'len' then '^[tlo]$' when 'default' then '^..$' when 'str' then '^.$' when 'int' then '^[ntb]$'
    when 'float' then '^[nt]$' when 'abs' then '^[n]$' when 'min' then '^.{1,100}$' when 'max' then '^.{1,100}$'
    when 'sum' then '^[l]$' when 'any' then '^[l]$' when 'all' then '^[l]$' when 'keys' then '^[o]$'
    when 'values' then '^[o]$' when 'items' then '^[o]$' when 'range' then '^[n]{1,3}$' when 'merge' then '^[o]{2,100}$'
    when 'flatten' then '^[l]$' when 'chunk' then '^[l][n]$' when 'product' then '^[l][l]$' when 'lower' then '^[t]$'
    when 'upper' then '^[t]$' when 'strip' then '^[t]$' when 'split' then '^[t][t]?$' when 'join' then '^[l][t]$'
    when 'replace' then '^[t][t][t]$' when 'startswith' then '^[t][t]$' when 'endswith' then '^[t][t]$'
    when 'sorted' then '^[l]$' when 'json' then '^[t]$' when 'to_json' then '^.$'
    else '(?!)' end;  -- matches nothing
end
$$;

-- Say which argument does not fit its signature.
create or replace function pgflow.expression_misfit(p_name text, p_args jsonb[], p_kinds text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_signature constant text := pgflow.expression_signature(p_name);
  v_allowed text[];
  v_letters text;
begin
  if v_signature = '(?!)' then
    return format('there is no function %s()', p_name);
  elsif p_kinds !~ regexp_replace(v_signature, '\[\w+\]', '.', 'g') then
    return format('%s() does not take %s arguments', p_name, length(p_kinds));
  end if;
  v_allowed := array(select match[1] from regexp_matches(v_signature, '\[(\w+)\]', 'g') as matches (match));
  for i in 1 .. length(p_kinds) loop
    v_letters := v_allowed[least(i, cardinality(v_allowed))];
    if position(substr(p_kinds, i, 1) in v_letters) = 0 then
      return format('argument %s of %s() is %s, not %s', i, p_name, pgflow.expression_kind(p_args[i]),
        (select string_agg(case letter when 'n' then 'a number' when 't' then 'a text' when 'l' then 'a list'
           when 'o' then 'an object' else 'a boolean' end, ' or ' order by place)
         from string_to_table(v_letters, null) with ordinality as letters (letter, place)));
    end if;
  end loop;
  return p_name || '() cannot take this';
end
$$;

-- Give the number of an argument that must be an integer.
create or replace function pgflow.expression_integer(p_name text, p_value jsonb) returns numeric
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number numeric := pgflow.expression_number(p_value);
begin
  if v_number <> trunc(v_number) then
    raise exception using errcode = 'PF010', message = format('%s() needs integers, not %s', p_name, v_number);
  end if;
  return v_number;
end
$$;

-- Refuse a list that is not all numbers or all texts: nothing else has an order.
create or replace function pgflow.expression_check_comparable(p_name text, p_values jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (select count(distinct jsonb_typeof(value)) > 1 or bool_or(jsonb_typeof(value) not in ('number', 'string'))
      from jsonb_array_elements(p_values)) then
    raise exception using errcode = 'PF010', message = p_name || '() needs only numbers or only texts';
  end if;
end
$$;

-- min and max: of one list, or of the arguments; the first of equal ones, null of none.
create or replace function pgflow.expression_extreme(p_name text, p_args jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_values jsonb := case when cardinality(p_args) = 1 then p_args[1] else to_jsonb(p_args) end;
  v_symbol text := case p_name when 'min' then '<' else '>' end;
  v_value jsonb;
  v_best jsonb;
begin
  if jsonb_typeof(v_values) <> 'array' then
    raise exception using errcode = 'PF010', message = format('%1$s() is written %1$s(list) or %1$s(a, b)', p_name);
  end if;
  perform pgflow.expression_check_comparable(p_name, v_values);
  foreach v_value in array array(select jsonb_array_elements(v_values)) loop
    if v_best is null or pgflow.expression_compare(v_symbol, v_value, v_best) then
      v_best := v_value;
    end if;
  end loop;
  return coalesce(v_best, 'null');
end
$$;

-- Add up numbers from the left, as `+` does; integers alone in one go.
create or replace function pgflow.expression_sum(p_values jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_value jsonb;
  v_total jsonb := '0';
  v_integer numeric;
begin
  select value into v_value from jsonb_array_elements(p_values) where jsonb_typeof(value) <> 'number' limit 1;
  if found then
    raise exception using errcode = 'PF010',
      message = 'sum() needs only numbers, not ' || pgflow.expression_kind(v_value);
  end if;
  select sum(value::numeric) into v_integer from jsonb_array_elements(p_values)
  having bool_and(scale(value::numeric) = 0 and abs(value::numeric) < 1e4200);
  if found then
    return to_jsonb(v_integer);
  end if;
  foreach v_value in array array(select jsonb_array_elements(p_values)) loop
    v_total := pgflow.expression_arithmetic('+', v_total, v_value);
  end loop;
  return v_total;
end
$$;

-- Read the text of a number, for int() and float().
create or replace function pgflow.expression_parse_number(p_name text, p_text text) returns numeric
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := btrim(p_text, E' \t\n\r\f\x0b');
begin
  if p_name = 'int' and length(ltrim(v_text, '+-')) <= 4300 and v_text ~ '^[+-]?[0-9]+$' then
    return v_text::numeric;
  elsif p_name = 'float' and length(v_text) <= 4000
        and v_text ~ '^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$' then
    return pgflow.expression_from_double(pgflow.expression_double(v_text::numeric));
  end if;
  raise exception using errcode = 'PF010', message = case p_name
    when 'int' then 'int() needs the text of an integer' else 'float() needs the text of a number' end;
end
$$;

-- Functions of one value or of numbers.
create or replace function pgflow.expression_scalar_call(p_name text, p_args jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_arg constant jsonb := p_args[1];
begin
  case p_name
    when 'default' then
      return case when v_arg = 'null' then p_args[2] else v_arg end;
    when 'len' then
      return to_jsonb(case jsonb_typeof(v_arg) when 'string' then length(v_arg #>> '{}')
        when 'array' then jsonb_array_length(v_arg) else (select count(*) from jsonb_object_keys(v_arg)) end);
    when 'str' then
      return pgflow.expression_made_text(pgflow.expression_text(v_arg));
    when 'abs' then
      return to_jsonb(abs(pgflow.expression_number(v_arg)));
    when 'min', 'max' then
      return pgflow.expression_extreme(p_name, p_args);
    when 'sum' then
      return pgflow.expression_sum(v_arg);
    else null;
  end case;
  case jsonb_typeof(v_arg)
    when 'boolean' then return to_jsonb(v_arg::boolean::int);
    when 'string' then return to_jsonb(pgflow.expression_parse_number(p_name, v_arg #>> '{}'));
    else
      if p_name = 'int' then
        return to_jsonb(trunc(pgflow.expression_number(v_arg)));
      end if;
      return to_jsonb(pgflow.expression_from_double(pgflow.expression_double(pgflow.expression_number(v_arg))));
  end case;
end
$$;

-- Functions that make or walk over lists and objects.
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
      return to_jsonb((select coalesce(bool_or(pgflow.expression_truth(value)), false) from jsonb_array_elements(v_arg)));
    when 'all' then
      return to_jsonb((select coalesce(bool_and(pgflow.expression_truth(value)), true) from jsonb_array_elements(v_arg)));
    when 'keys' then
      return to_jsonb(array(select jsonb_object_keys(v_arg)));
    when 'values' then
      return to_jsonb(array(select value from jsonb_each(v_arg)));
    when 'items' then
      return to_jsonb(array(select jsonb_build_array(key, value) from jsonb_each(v_arg)));
    when 'merge' then
      return (select coalesce(jsonb_object_agg(key, value order by place), '{}')
              from unnest(p_args) with ordinality as args (arg, place), jsonb_each(arg));
    when 'range' then
      return pgflow.expression_range(p_args);
    when 'flatten' then
      return pgflow.expression_flatten(v_arg);
    when 'chunk' then
      return pgflow.expression_chunk(v_arg, pgflow.expression_integer(p_name, v_other));
    when 'product' then
      perform pgflow.expression_check_items(jsonb_array_length(v_arg)::numeric * jsonb_array_length(v_other));
      return to_jsonb(array(
        select jsonb_build_array(a.value, b.value)
        from jsonb_array_elements(v_arg) with ordinality as a (value, place),
          jsonb_array_elements(v_other) with ordinality as b (value, place)
        order by a.place, b.place));
    when 'sorted' then
      perform pgflow.expression_check_items(jsonb_array_length(v_arg));
      perform pgflow.expression_check_comparable(p_name, v_arg);
      if jsonb_typeof(v_arg -> 0) = 'number' then
        return to_jsonb(array(
          select value from jsonb_array_elements(v_arg) with ordinality
          order by pgflow.expression_number(value), ordinality));
      end if;
      return to_jsonb(array(select value from jsonb_array_elements(v_arg) order by (value #>> '{}') collate "C"));
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
  return to_jsonb(array(select v_start + place * v_step from generate_series(0, v_count::int - 1) as places (place)));
end
$$;

-- Join the lists of a list into one.
create or replace function pgflow.expression_flatten(p_lists jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_other jsonb;
begin
  select value into v_other from jsonb_array_elements(p_lists) where jsonb_typeof(value) <> 'array' limit 1;
  if found then
    raise exception using errcode = 'PF010',
      message = format('flatten() needs a list of lists, not %s in it', pgflow.expression_kind(v_other));
  end if;
  perform pgflow.expression_check_items((select coalesce(sum(jsonb_array_length(value)), 0) from jsonb_array_elements(p_lists)));
  return to_jsonb(array(
    select inside.value
    from jsonb_array_elements(p_lists) with ordinality as outside (value, place),
      jsonb_array_elements(outside.value) with ordinality as inside (value, place)
    order by outside.place, inside.place));
end
$$;

-- Cut a list into lists of a size; the last may be shorter.
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
          from (select jsonb_agg(value order by ordinality) as part, div(ordinality - 1, p_size) as number
                from jsonb_array_elements(p_list) with ordinality group by 2) as parts);
end
$$;
