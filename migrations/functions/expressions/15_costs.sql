-- What an expression may use: the twin of pgflow_yaml/language/expressions/costs.py and meter.py.
--
-- Each operation is charged before its work, by the bytes of its values (pg_column_size, which is
-- read from the header of a value). The callers test a size first, so that small values cost no
-- call.

-- The table of costs: bytes, items or products of bytes that make a step; or a bound.
create or replace function pgflow.expression_cost(p_name text) returns int
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_name
    when 'read' then 4000 when '+' then 1000 when '==' then 200 when 'in' then 200
    when 'len' then 1000 when 'call' then 100 when 'write' then 80 when 'scan' then 10
    when 'numbers' then 4 when 'ordering' then 2
    when 'search' then 2500 when 'digits' then 20000
    when 'steps' then 200000 when 'made' then 5242880 when 'weight' then 8388608
    when 'free' then 10 when 'free bytes' then 1000 end;
end
$$;

-- The weight of a value in bytes, cut where Python ends its walk.
create or replace function pgflow.expression_weight(p_value jsonb) returns bigint
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return least(pg_column_size(p_value), pgflow.expression_cost('weight'));
end
$$;

-- Counts steps against the budget. The count is kept in a setting of the transaction, so that it
-- costs a simple node nothing; `pgflow.evaluate` sets it to 0.
create or replace function pgflow.expression_charge(p_steps bigint) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_steps bigint;
begin
  if p_steps < 1 then
    return;
  end if;
  v_steps := current_setting('pgflow.expression_steps', true)::bigint + p_steps;
  if v_steps > pgflow.expression_cost('steps') then
    raise exception using errcode = 'PF010',
      message = 'the expression takes more than 200,000 steps';
  end if;
  perform set_config('pgflow.expression_steps', v_steps::text, true);
end
$$;

-- Raises for values that are too large for one list, object or text.
create or replace function pgflow.expression_check_made(p_bytes bigint) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_bytes > pgflow.expression_cost('made') then
    raise exception using errcode = 'PF010', message = 'the value is larger than 1 MiB';
  end if;
end
$$;

-- Raises for the parts of a list, object or text that are too large together; of a call, for those
-- after the second.
create or replace function pgflow.expression_check_parts(p_parts jsonb[], p_is_call boolean)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_size bigint := 0;
begin
  -- A loop, for a row would store short values with shorter headers.
  for i in case when p_is_call then 3 else 1 end .. cardinality(p_parts) loop
    v_size := v_size + pg_column_size(p_parts[i]);
  end loop;
  perform pgflow.expression_check_made(v_size);
end
$$;

-- Charges a comparison of two lists or two objects.
create or replace function pgflow.expression_charge_equal(p_a jsonb, p_b jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_a) = jsonb_typeof(p_b) and jsonb_typeof(p_a) in ('array', 'object') then
    perform pgflow.expression_charge(
      (pgflow.expression_weight(p_a) + pgflow.expression_weight(p_b))
      / pgflow.expression_cost('=='));
  end if;
end
$$;

-- Charges a search in a list or a text.
create or replace function pgflow.expression_charge_in(p_needle jsonb, p_hay jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_hay) = 'array' then
    if jsonb_typeof(p_needle) in ('array', 'object') then
      perform pgflow.expression_charge(
        jsonb_array_length(p_hay)
          * (1 + pgflow.expression_weight(p_needle) / pgflow.expression_cost('in'))
        + pgflow.expression_weight(p_hay) / pgflow.expression_cost('in'));
    else
      perform pgflow.expression_charge(
        jsonb_array_length(p_hay) / pgflow.expression_cost(
          case jsonb_typeof(p_needle) when 'number' then 'numbers' else 'scan' end));
    end if;
  elsif jsonb_typeof(p_hay) = 'string' and jsonb_typeof(p_needle) = 'string' then
    perform pgflow.expression_charge(
      pgflow.expression_weight(p_hay) / pgflow.expression_cost('+'));
    perform pgflow.expression_charge_search(p_needle, p_hay);
  end if;
end
$$;

-- Charges a search that may compare the whole needle at each position, as PostgreSQL's does.
create or replace function pgflow.expression_charge_search(p_needle jsonb, p_hay jsonb)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_size constant bigint := pgflow.expression_weight(p_needle) - 12;  -- without its header
  v_positions constant bigint := pgflow.expression_weight(p_hay) - 12 - v_size;
begin
  if v_positions > 0 then
    perform pgflow.expression_charge(v_positions * v_size / pgflow.expression_cost('search'));
  end if;
end
$$;

-- Charges the text or list that `+` makes, or the digits of two numbers. Less than 400 bytes are
-- free.
create or replace function pgflow.expression_charge_arithmetic(
  p_symbol text, p_a jsonb, p_b jsonb
) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_a constant bigint := pgflow.expression_weight(p_a);
  v_b constant bigint := pgflow.expression_weight(p_b);
begin
  if jsonb_typeof(p_a) <> jsonb_typeof(p_b) then
    return;
  end if;
  case jsonb_typeof(p_a)
    when 'number' then
      perform pgflow.expression_charge(v_a * v_b / pgflow.expression_cost('digits'));
    when 'string' then
      if p_symbol = '+' then
        perform pgflow.expression_charge((v_a + v_b) / pgflow.expression_cost('+'));
      end if;
    when 'array' then
      if p_symbol = '+' then
        perform pgflow.expression_check_made(v_a + v_b);
        perform pgflow.expression_charge(
          (jsonb_array_length(p_a) + jsonb_array_length(p_b)) / pgflow.expression_cost('scan')
          + (v_a + v_b) / pgflow.expression_cost('+'));
      end if;
    else null;
  end case;
end
$$;

-- Charges a function for its arguments, before it is called.
create or replace function pgflow.expression_charge_call(p_name text, p_args jsonb[])
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first constant jsonb := p_args[1];
  v_text text;
begin
  case
    when p_name = 'len' then
      perform pgflow.expression_charge(case jsonb_typeof(v_first)
        when 'string' then pgflow.expression_weight(v_first) / pgflow.expression_cost('len')
        when 'object' then
          (select count(*) from jsonb_object_keys(v_first)) / pgflow.expression_cost('scan')
        else 0 end);
    when p_name in ('str', 'to_json', 'join') then
      perform pgflow.expression_charge_walk(p_args, pgflow.expression_cost('write'));
    when p_name = 'json' then  -- values and brackets, counted by the characters before them
      v_text := v_first #>> '{}';
      perform pgflow.expression_charge(
        length(v_text) - length(translate(v_text, ',[{', ''))
        + pgflow.expression_weight(v_first) / pgflow.expression_cost('call'));
    else
      perform pgflow.expression_charge_walk(p_args, pgflow.expression_cost('call'));
      if p_name in ('split', 'replace') and cardinality(p_args) > 1 then
        perform pgflow.expression_charge_search(p_args[2], v_first);
      elsif p_name = 'product' then
        perform pgflow.expression_check_made(
          jsonb_array_length(p_args[2]) * pgflow.expression_weight(v_first)
          + jsonb_array_length(v_first) * pgflow.expression_weight(p_args[2]));
      elsif p_name in ('min', 'max', 'sum', 'sorted') and jsonb_typeof(v_first) = 'array' then
        perform pgflow.expression_charge(
          jsonb_array_length(v_first) * pgflow.expression_cost('ordering'));
      end if;
  end case;
end
$$;

-- Charges a walk over values: the items of lists and objects, and the bytes of all but numbers.
create or replace function pgflow.expression_charge_walk(p_values jsonb[], p_bytes int)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_value jsonb;
  v_items bigint := 0;
  v_size bigint := 0;
begin
  foreach v_value in array p_values loop
    case jsonb_typeof(v_value)
      when 'array' then v_items := v_items + jsonb_array_length(v_value);
      when 'object' then v_items := v_items + (select count(*) from jsonb_object_keys(v_value));
      when 'string' then null;
      else continue;
    end case;
    v_size := v_size + least(pg_column_size(v_value), pgflow.expression_cost('weight'));
  end loop;
  if v_size >= pgflow.expression_cost('free bytes') then
    v_items := v_items + v_size / p_bytes;
  end if;
  if v_items >= pgflow.expression_cost('free') then
    perform pgflow.expression_charge(v_items);
  end if;
end
$$;

-- Charges the text of a template.
create or replace function pgflow.expression_charge_text(p_parts jsonb[]) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_size bigint := 0;
begin
  for i in 1 .. cardinality(p_parts) loop
    v_size := v_size + pgflow.expression_weight(p_parts[i]);
  end loop;
  if v_size >= pgflow.expression_cost('free bytes') then
    perform pgflow.expression_charge(v_size / pgflow.expression_cost('write'));
  end if;
end
$$;
