-- The values of expressions: kinds, truth, equality, text. As
-- pgflow_yaml/language/expressions/values.py.
--
-- There is one kind of number: an integer when it has no fraction, exact; else an IEEE double. So a
-- number with a scale passes through float8 first, as it does when Python reads it.

-- The kind of a value, for a message.
create or replace function pgflow.expression_kind(p_value jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case jsonb_typeof(p_value)
    when 'boolean' then 'a boolean' when 'number' then 'a number' when 'string' then 'a text'
    when 'array' then 'a list' when 'object' then 'an object' else 'null' end
$$;

-- The double nearest to a number. Below half of the smallest double it is zero, where a cast would
-- raise.
create or replace function pgflow.expression_double(p_number numeric) returns float8
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if abs(p_number) < 1e-300 and abs(p_number) <= 2.47032822920623272088284396434110686182e-324 then
    return 0;
  elsif abs(p_number) < 1e308 then
    return p_number::float8;
  end if;
  return pgflow.expression_large_double(p_number);
end
$$;

-- The double nearest to a number that may be too large. (A function with an exception costs a
-- subtransaction.)
create or replace function pgflow.expression_large_double(p_number numeric) returns float8
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_number::float8;
exception when numeric_value_out_of_range then
  raise exception using errcode = 'PF010', message = 'a number is too large for a double';
end
$$;

-- The number of a double: an integer exactly, a fraction by its shortest text. (A cast to numeric
-- keeps 15 digits; the shortest text of a large integer is not always Python's.)
create or replace function pgflow.expression_from_double(p_double float8) returns numeric
language plpgsql immutable
set search_path = pg_catalog, pg_temp
set extra_float_digits = 1
as $$
declare
  v_mask constant bigint := (1::bigint << 52) - 1;
  v_bits bigint;
begin
  if p_double in ('Infinity', '-Infinity', 'NaN') then
    raise exception using errcode = 'PF010', message = 'a number is too large for a double';
  end if;
  if abs(p_double) < 9007199254740992 then
    return p_double::text::numeric;
  end if;
  v_bits := ('x' || encode(float8send(abs(p_double)), 'hex'))::bit(64)::bigint;
  return sign(p_double)::int * ((v_bits & v_mask) + v_mask + 1)
    * round(power(2::numeric, (v_bits >> 52) - 1075));
end
$$;

-- The canonical form of a number.
create or replace function pgflow.expression_number(p_value jsonb) returns numeric
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number numeric := p_value::numeric;
begin
  if scale(v_number) between 1 and 6 and abs(v_number) < 1e9 then
    return trim_scale(v_number);  -- a double keeps any 15 digits
  elsif scale(v_number) > 0 then
    return pgflow.expression_from_double(pgflow.expression_double(v_number));
  elsif abs(v_number) >= 1e4300 then
    raise exception using errcode = 'PF010', message = 'a number has more than 4,300 digits';
  end if;
  return v_number;
end
$$;

-- A value with each number in its canonical form; most values have no number that could differ.
create or replace function pgflow.expression_canonical(p_value jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(p_value)
    when 'number' then
      return to_jsonb(pgflow.expression_number(p_value));
    when 'array', 'object' then
      -- A fraction that ends in 0, or 17 digits and more; the digits may stand in a text, which
      -- costs time only.
      if p_value::text !~ '\.\d*0(?!\d)|[\d.]{17}' then
        return p_value;
      elsif jsonb_typeof(p_value) = 'array' then
        return (
          select coalesce(jsonb_agg(pgflow.expression_canonical(e.item) order by e.nr), '[]')
          from jsonb_array_elements(p_value) with ordinality e(item, nr));
      end if;
      return (
        select coalesce(jsonb_object_agg(e.key, pgflow.expression_canonical(e.value)), '{}')
        from jsonb_each(p_value) e);
    else
      return p_value;
  end case;
end
$$;

-- The text of a value in a template: null is empty, a text is itself, the rest is JSON.
create or replace function pgflow.expression_text(p_value jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_value) = 'null' then
    return '';
  end if;
  return pgflow.expression_canonical(p_value) #>> '{}';
end
$$;

-- The truth of a value, as in Python.
create or replace function pgflow.expression_truth(p_value jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(p_value)
    when 'boolean' then return p_value::boolean;
    when 'number' then return pgflow.expression_number(p_value) <> 0;
    else return p_value not in ('null', '""', '[]', '{}');
  end case;
end
$$;

-- Compares two values deeply. jsonb's own equality differs only where two decimals are one double.
create or replace function pgflow.expression_equal(p_a jsonb, p_b jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_a = p_b then
    return true;
  elsif jsonb_typeof(p_a) <> jsonb_typeof(p_b)
    or jsonb_typeof(p_a) in ('string', 'boolean', 'null')
  then
    return false;
  end if;
  if p_a::text ~ '[\d.]{17}' or p_b::text ~ '[\d.]{17}' then
    return pgflow.expression_canonical(p_a) = pgflow.expression_canonical(p_b);
  end if;
  return false;
end
$$;

-- Raises for a list of more than 10,000 items.
create or replace function pgflow.expression_check_items(p_count numeric) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_count > 10000 then
    raise exception using errcode = 'PF010', message = 'a list has more than 10,000 items';
  end if;
end
$$;

-- Returns a text that an expression made; raises when it is larger than 1 MiB.
create or replace function pgflow.expression_made_text(p_text text) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if octet_length(p_text) > 1048576 then
    raise exception using errcode = 'PF010', message = 'the value is larger than 1 MiB';
  end if;
  return to_jsonb(p_text);
end
$$;
