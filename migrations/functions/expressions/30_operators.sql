-- The operators of expressions. As pgflow_yaml/language/expressions/operators.py.

-- Compares the order of two numbers or two texts (by code point); null is neither above nor below.
create or replace function pgflow.expression_compare(p_symbol text, p_a jsonb, p_b jsonb)
returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_a numeric;
  v_b numeric;
  v_order int;
begin
  if jsonb_typeof(p_a) = 'number' and jsonb_typeof(p_b) = 'number' then
    v_a := case
      when scale(p_a::numeric) = 0 then p_a::numeric else pgflow.expression_number(p_a) end;
    v_b := case
      when scale(p_b::numeric) = 0 then p_b::numeric else pgflow.expression_number(p_b) end;
    v_order := case when v_a < v_b then -1 when v_a = v_b then 0 else 1 end;
  elsif jsonb_typeof(p_a) = 'string' and jsonb_typeof(p_b) = 'string' then
    v_order := case when (p_a #>> '{}') collate "C" < (p_b #>> '{}') collate "C" then -1
                    when p_a = p_b then 0 else 1 end;
  elsif jsonb_typeof(p_a) = 'null' or jsonb_typeof(p_b) = 'null' then
    return false;
  else
    raise exception using errcode = 'PF010', message = format('`%s` cannot compare %s with %s',
      p_symbol, pgflow.expression_kind(p_a), pgflow.expression_kind(p_b));
  end if;
  return case p_symbol when '<' then v_order < 0 when '<=' then v_order <= 0
                       when '>' then v_order > 0 else v_order >= 0 end;
end
$$;

-- True when a list without an equal decimal has a number that is the same double.
create or replace function pgflow.expression_contains_number(p_needle jsonb, p_list jsonb)
returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number constant numeric := pgflow.expression_number(p_needle);
  v_near constant numeric := abs(v_number) * 1e-15 + 1e-320;  -- more than half between two doubles
  v_double float8;
begin
  if (p_list::text || p_needle::text) !~ '[\d.]{17}' then
    return false;
  elsif not jsonb_path_exists(p_list, '$[*] ? (@ >= $from && @ <= $to)',
    jsonb_build_object('from', v_number - v_near, 'to', v_number + v_near), true)
  then
    return false;
  end if;
  if abs(v_number) < 1e300
    and pgflow.expression_from_double(pgflow.expression_double(v_number)) = v_number
  then
    v_double := pgflow.expression_double(v_number);
  end if;
  return exists (
    select from jsonb_array_elements(p_list)
    where case
      when jsonb_typeof(value) <> 'number' then false
      when scale(value::numeric) = 0 then value::numeric = v_number
      when abs(value::numeric) between 1e-300 and 1e300 then value::numeric::float8 = v_double
      else pgflow.expression_number(value) = v_number end);
end
$$;

-- True when a list has the item, an object the key, or a text the part; null has nothing.
create or replace function pgflow.expression_contains(p_needle jsonb, p_hay jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_column_size(p_hay) >= 24 or jsonb_typeof(p_needle) in ('array', 'object') then
    perform pgflow.expression_charge_in(p_needle, p_hay);
  end if;
  case jsonb_typeof(p_hay)
    when 'array' then
      if jsonb_typeof(p_needle) in ('array', 'object') then
        return exists (
          select from jsonb_array_elements(p_hay) where pgflow.expression_equal(value, p_needle));
      end if;
      return p_hay @> p_needle
        or jsonb_typeof(p_needle) = 'number' and pgflow.expression_contains_number(p_needle, p_hay);
    when 'object' then
      return jsonb_typeof(p_needle) = 'string' and p_hay ? (p_needle #>> '{}');
    when 'null' then
      return false;
    when 'string' then
      if jsonb_typeof(p_needle) = 'string' then
        return position(p_needle #>> '{}' in p_hay #>> '{}') > 0;
      end if;
    else null;
  end case;
  raise exception using errcode = 'PF010', message = format('`in` cannot look for %s in %s',
    pgflow.expression_kind(p_needle), pgflow.expression_kind(p_hay));
end
$$;

-- A key of an object, an item of a list or a character; null for a missing one.
create or replace function pgflow.expression_pick(p_holder jsonb, p_index jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_index numeric;
  v_text text;
begin
  if jsonb_typeof(p_holder) = 'string' and pg_column_size(p_holder) >= 1000 then
    perform pgflow.expression_charge(
      pgflow.expression_weight(p_holder) / pgflow.expression_cost('+'));
  end if;
  if jsonb_typeof(p_index) = 'string' then
    return case jsonb_typeof(p_holder)
      when 'object' then coalesce(p_holder -> (p_index #>> '{}'), 'null') else 'null' end;
  elsif jsonb_typeof(p_index) <> 'number' then
    raise exception using errcode = 'PF010',
      message = 'an index is a number or a text, not ' || pgflow.expression_kind(p_index);
  end if;
  v_index := pgflow.expression_number(p_index);
  if v_index <> trunc(v_index) then
    raise exception using errcode = 'PF010', message = 'an index is an integer, not ' || v_index;
  elsif abs(v_index) > 2000000000 then
    return 'null';
  elsif jsonb_typeof(p_holder) = 'array' then
    return coalesce(p_holder -> v_index::int, 'null');
  elsif jsonb_typeof(p_holder) = 'string' then
    v_text := p_holder #>> '{}';
    v_index := case when v_index < 0 then v_index + length(v_text) else v_index end;
    return case when v_index between 0 and length(v_text) - 1
      then to_jsonb(substr(v_text, v_index::int + 1, 1)) else 'null' end;
  end if;
  return 'null';
end
$$;

-- The remainder of a division of doubles, exactly as C's fmod: both are integers times one power of
-- two.
create or replace function pgflow.expression_fmod(p_a float8, p_b float8) returns float8
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_a bigint := ('x' || encode(float8send(abs(p_a)), 'hex'))::bit(64)::bigint;
  v_b bigint := ('x' || encode(float8send(abs(p_b)), 'hex'))::bit(64)::bigint;
  v_mask constant bigint := (1::bigint << 52) - 1;
  v_exponent_a int := greatest(v_a >> 52, 1);
  v_exponent_b int := greatest(v_b >> 52, 1);
  v_base int := least(v_exponent_a, v_exponent_b);
  v_rest numeric;
begin
  v_rest := mod(
    ((v_a & v_mask) + case when v_a >> 52 > 0 then v_mask + 1 else 0 end)
      * power(2::numeric, v_exponent_a - v_base),
    ((v_b & v_mask) + case when v_b >> 52 > 0 then v_mask + 1 else 0 end)
      * power(2::numeric, v_exponent_b - v_base));
  return sign(p_a) * (round(v_rest)::float8 * power(2::float8, v_base - 1075));
end
$$;

-- Computes with doubles; a result that is too small becomes 0, one that is too large is an error,
-- as in Python.
create or replace function pgflow.expression_float(p_symbol text, p_a float8, p_b float8)
returns numeric
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rest float8;
begin
  case p_symbol
    when '+' then return pgflow.expression_from_double(p_a + p_b);
    when '-' then return pgflow.expression_from_double(p_a - p_b);
    when '*' then return pgflow.expression_from_double(p_a * p_b);
    when '/' then return pgflow.expression_from_double(p_a / p_b);
    else
      v_rest := pgflow.expression_fmod(p_a, p_b);
      if v_rest <> 0 and (v_rest < 0) <> (p_b < 0) then
        v_rest := v_rest + p_b;
      end if;
      return pgflow.expression_from_double(v_rest);
  end case;
exception when numeric_value_out_of_range then
  if p_symbol = '*' and abs(p_a) < 1 and abs(p_b) < 1 or p_symbol = '/' and abs(p_a) < abs(p_b) then
    return 0;
  end if;
  raise exception using errcode = 'PF010', message = 'a number is too large for a double';
end
$$;

-- Computes `a symbol b`; `+` joins two texts or two lists as well.
create or replace function pgflow.expression_arithmetic(p_symbol text, p_a jsonb, p_b jsonb)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_a numeric;
  v_b numeric;
begin
  if pg_column_size(p_a) + pg_column_size(p_b) >= 400 then
    perform pgflow.expression_charge_arithmetic(p_symbol, p_a, p_b);
  end if;
  if jsonb_typeof(p_a) = 'number' and jsonb_typeof(p_b) = 'number' then
    v_a := pgflow.expression_number(p_a);
    v_b := pgflow.expression_number(p_b);
    if v_b = 0 and p_symbol in ('/', '%') then
      raise exception using errcode = 'PF010', message = 'division by zero';
    elsif p_symbol = '/' or scale(v_a) > 0 or scale(v_b) > 0 then
      v_a := pgflow.expression_float(
        p_symbol, pgflow.expression_double(v_a), pgflow.expression_double(v_b));
      return to_jsonb(v_a);
    end if;
    v_a := case p_symbol when '+' then v_a + v_b when '-' then v_a - v_b when '*' then v_a * v_b
             else mod(mod(v_a, v_b) + v_b, v_b) end;
    return to_jsonb(pgflow.expression_number(to_jsonb(v_a)));
  elsif p_symbol = '+' and jsonb_typeof(p_a) = 'string' and jsonb_typeof(p_b) = 'string' then
    return pgflow.expression_made_text((p_a #>> '{}') || (p_b #>> '{}'));
  elsif p_symbol = '+' and jsonb_typeof(p_a) = 'array' and jsonb_typeof(p_b) = 'array' then
    perform pgflow.expression_check_items(jsonb_array_length(p_a) + jsonb_array_length(p_b));
    return p_a || p_b;
  end if;
  raise exception using errcode = 'PF010', message = format('`%s` cannot take %s and %s',
    p_symbol, pgflow.expression_kind(p_a), pgflow.expression_kind(p_b));
end
$$;
