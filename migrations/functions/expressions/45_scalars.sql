-- The functions of the expression language that take one value or numbers.

-- The number of an argument that must be an integer.
create or replace function pgflow.expression_integer(p_name text, p_value jsonb) returns numeric
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number numeric := pgflow.expression_number(p_value);
begin
  if v_number <> trunc(v_number) then
    raise exception using errcode = 'PF010',
      message = format('%s() needs integers, not %s', p_name, v_number);
  end if;
  return v_number;
end
$$;

-- Raises for a list that is not all numbers or all texts: nothing else has an order.
create or replace function pgflow.expression_check_comparable(p_name text, p_values jsonb)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (select count(distinct jsonb_typeof(value)) > 1
    or bool_or(jsonb_typeof(value) not in ('number', 'string'))
      from jsonb_array_elements(p_values)) then
    raise exception using errcode = 'PF010',
      message = p_name || '() needs only numbers or only texts';
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
  v_number numeric;
  v_extreme numeric;
begin
  if jsonb_typeof(v_values) <> 'array' then
    raise exception using errcode = 'PF010',
      message = format('%1$s() is written %1$s(list) or %1$s(a, b)', p_name);
  end if;
  perform pgflow.expression_check_comparable(p_name, v_values);
  if jsonb_typeof(v_values -> 0) = 'number' then
    foreach v_value in array array(select jsonb_array_elements(v_values)) loop
      v_number := pgflow.expression_number(v_value);
      if v_best is null or (v_number < v_extreme) = (p_name = 'min') and v_number <> v_extreme then
        v_best := v_value;
        v_extreme := v_number;
      end if;
    end loop;
  else
    foreach v_value in array array(select jsonb_array_elements(v_values)) loop
      if v_best is null or pgflow.expression_compare(v_symbol, v_value, v_best) then
        v_best := v_value;
      end if;
    end loop;
  end if;
  return coalesce(v_best, 'null');
end
$$;

-- Adds numbers from the left, as `+` does; integers alone in one statement.
create or replace function pgflow.expression_sum(p_values jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_value jsonb;
  v_total jsonb := '0';
  v_integer numeric;
begin
  select value into v_value from jsonb_array_elements(p_values)
  where jsonb_typeof(value) <> 'number' limit 1;
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

-- Reads the text of a number, for int() and float().
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
    when 'int' then 'int() needs the text of an integer'
    else 'float() needs the text of a number' end;
end
$$;

-- Calls a function of one value or of numbers.
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
        when 'array' then jsonb_array_length(v_arg)
          else (select count(*) from jsonb_object_keys(v_arg)) end);
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
      return to_jsonb(pgflow.expression_from_double(
        pgflow.expression_double(pgflow.expression_number(v_arg))));
  end case;
end
$$;
