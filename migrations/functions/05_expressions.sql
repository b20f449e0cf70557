-- Expressions: the tree that the compiler stored → its value, decided inside the caller's transaction.
--
-- The twin of pgflow_yaml/expressions: same values, same errors (tests/expression_cases.py holds both to it).
-- A node is a JSON array that begins with its operator. Nothing here reads a table; the environment is one flat
-- object from dotted path to value. Inside, a failure is SQLSTATE PF010; `pgflow.evaluate` turns all into {"error": …}.
--
-- There is one kind of number: an integer when it has no fraction, exact; else an IEEE double. So a number with a
-- scale passes through float8 first, as it does when Python reads it.

-- Name the kind of a value for a message.
create or replace function pgflow.expression_kind(p_value jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case jsonb_typeof(p_value)
    when 'boolean' then 'a boolean' when 'number' then 'a number' when 'string' then 'a text'
    when 'array' then 'a list' when 'object' then 'an object' else 'null' end
$$;

-- Give the double nearest to a number. Below half of the smallest double is zero, where a cast would raise.
create or replace function pgflow.expression_double(p_number numeric) returns float8
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if abs(p_number) < 1e-300 and abs(p_number) <= 2.47032822920623272088284396434110686182e-324 then
    return 0;
  end if;
  return p_number::float8;
exception when numeric_value_out_of_range then
  raise exception using errcode = 'PF010', message = 'a number is too large for a double';
end
$$;

-- Give the number that a double stands for: an integer exactly, a fraction by its shortest text.
-- (A cast to numeric keeps 15 digits; the shortest text of a large integer is not always Python's.)
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
  return sign(p_double)::int * ((v_bits & v_mask) + v_mask + 1) * round(power(2::numeric, (v_bits >> 52) - 1075));
end
$$;

-- Give the one form of a number.
create or replace function pgflow.expression_number(p_value jsonb) returns numeric
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number numeric := p_value::numeric;
begin
  if scale(v_number) > 0 then
    return pgflow.expression_from_double(pgflow.expression_double(v_number));
  elsif abs(v_number) >= 1e4300 then
    raise exception using errcode = 'PF010', message = 'a number has more than 4,300 digits';
  end if;
  return v_number;
end
$$;

-- Give a value with each number in its one form; most values have no number that could differ.
create or replace function pgflow.expression_canonical(p_value jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(p_value)
    when 'number' then
      return to_jsonb(pgflow.expression_number(p_value));
    when 'array', 'object' then
      -- A fraction that ends in 0, or 17 digits and more; the digits may stand in a text, which costs time only.
      if p_value::text !~ '\.\d*0(?!\d)|[\d.]{17}' then
        return p_value;
      elsif jsonb_typeof(p_value) = 'array' then
        return (select coalesce(jsonb_agg(pgflow.expression_canonical(value) order by ordinality), '[]')
                from jsonb_array_elements(p_value) with ordinality);
      end if;
      return (select coalesce(jsonb_object_agg(key, pgflow.expression_canonical(value)), '{}') from jsonb_each(p_value));
    else
      return p_value;
  end case;
end
$$;

-- Write a value as a template does: null is empty, a text is itself, the rest is JSON.
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

-- Tell whether a value counts as true.
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

-- Compare two values deeply. jsonb's own equality differs only where two decimals are one double.
create or replace function pgflow.expression_equal(p_a jsonb, p_b jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_a = p_b then
    return true;
  elsif jsonb_typeof(p_a) <> jsonb_typeof(p_b) or jsonb_typeof(p_a) in ('string', 'boolean', 'null') then
    return false;
  elsif p_a::text ~ '[\d.]{17}' or p_b::text ~ '[\d.]{17}' then
    return pgflow.expression_canonical(p_a) = pgflow.expression_canonical(p_b);
  end if;
  return false;
end
$$;

-- Order two numbers or two texts (by code point); null is neither above nor below.
create or replace function pgflow.expression_compare(p_symbol text, p_a jsonb, p_b jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_a numeric;
  v_b numeric;
  v_order int;
begin
  if jsonb_typeof(p_a) = 'number' and jsonb_typeof(p_b) = 'number' then
    v_a := case when scale(p_a::numeric) = 0 then p_a::numeric else pgflow.expression_number(p_a) end;
    v_b := case when scale(p_b::numeric) = 0 then p_b::numeric else pgflow.expression_number(p_b) end;
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

-- Tell whether a list has the item, an object the key, or a text the part; null has nothing.
create or replace function pgflow.expression_contains(p_needle jsonb, p_hay jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  case jsonb_typeof(p_hay)
    when 'array' then
      if jsonb_array_length(p_hay) >= 10 then
        perform pgflow.expression_charge(jsonb_array_length(p_hay) / 10);
      end if;
      if jsonb_typeof(p_needle) not in ('array', 'object') and (p_hay @> p_needle
         or jsonb_typeof(p_needle) <> 'number' or (p_hay::text || p_needle::text) !~ '[\d.]{17}') then
        return p_hay @> p_needle;
      end if;
      return exists (select from jsonb_array_elements(p_hay) where pgflow.expression_equal(value, p_needle));
    when 'object' then
      return jsonb_typeof(p_needle) = 'string' and p_hay ? (p_needle #>> '{}');
    when 'null' then
      return false;
    when 'string' then
      if jsonb_typeof(p_needle) = 'string' then
        if pg_column_size(p_hay) >= 1000 then
          perform pgflow.expression_charge(length(p_hay #>> '{}') / 1000);
        end if;
        return position(p_needle #>> '{}' in p_hay #>> '{}') > 0;
      end if;
    else null;
  end case;
  raise exception using errcode = 'PF010', message = format('`in` cannot look for %s in %s',
    pgflow.expression_kind(p_needle), pgflow.expression_kind(p_hay));
end
$$;

-- Look up a key of an object, an item of a list or a character; what is missing is null.
create or replace function pgflow.expression_pick(p_holder jsonb, p_index jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_index numeric;
  v_text text;
begin
  if jsonb_typeof(p_index) = 'string' then
    return case jsonb_typeof(p_holder) when 'object' then coalesce(p_holder -> (p_index #>> '{}'), 'null') else 'null' end;
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

-- The rest of a division of doubles, exactly as C's fmod: both are integers times one power of two.
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
    ((v_a & v_mask) + case when v_a >> 52 > 0 then v_mask + 1 else 0 end) * power(2::numeric, v_exponent_a - v_base),
    ((v_b & v_mask) + case when v_b >> 52 > 0 then v_mask + 1 else 0 end) * power(2::numeric, v_exponent_b - v_base));
  return sign(p_a) * (round(v_rest)::float8 * power(2::float8, v_base - 1075));
end
$$;

-- Compute with doubles; what is too small becomes 0, what is too large is an error, as in Python.
create or replace function pgflow.expression_float(p_symbol text, p_a float8, p_b float8) returns numeric
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

-- Compute `a symbol b`; `+` joins two texts or two lists as well.
create or replace function pgflow.expression_arithmetic(p_symbol text, p_a jsonb, p_b jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_a numeric;
  v_b numeric;
begin
  if jsonb_typeof(p_a) = 'number' and jsonb_typeof(p_b) = 'number' then
    v_a := pgflow.expression_number(p_a);
    v_b := pgflow.expression_number(p_b);
    if v_b = 0 and p_symbol in ('/', '%') then
      raise exception using errcode = 'PF010', message = 'division by zero';
    elsif p_symbol = '/' or scale(v_a) > 0 or scale(v_b) > 0 then
      v_a := pgflow.expression_float(p_symbol, pgflow.expression_double(v_a), pgflow.expression_double(v_b));
      return to_jsonb(v_a);
    end if;
    v_a := case p_symbol when '+' then v_a + v_b when '-' then v_a - v_b when '*' then v_a * v_b
             else mod(mod(v_a, v_b) + v_b, v_b) end;
    return to_jsonb(pgflow.expression_number(to_jsonb(v_a)));
  elsif p_symbol = '+' and jsonb_typeof(p_a) = 'string' and jsonb_typeof(p_b) = 'string' then
    return pgflow.expression_charged_text((p_a #>> '{}') || (p_b #>> '{}'));
  elsif p_symbol = '+' and jsonb_typeof(p_a) = 'array' and jsonb_typeof(p_b) = 'array' then
    perform pgflow.expression_check_items(jsonb_array_length(p_a) + jsonb_array_length(p_b));
    if jsonb_array_length(p_a) + jsonb_array_length(p_b) >= 10 then
      perform pgflow.expression_charge((jsonb_array_length(p_a) + jsonb_array_length(p_b)) / 10);
    end if;
    return p_a || p_b;
  end if;
  raise exception using errcode = 'PF010', message = format('`%s` cannot take %s and %s',
    p_symbol, pgflow.expression_kind(p_a), pgflow.expression_kind(p_b));
end
$$;

-- Let a list pass unless it has more than 10,000 items.
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

-- Let a text that an expression made pass unless it is larger than 1 MiB.
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

-- The same for a text that an operator made: its length costs visits (those of a function are charged with its call).
create or replace function pgflow.expression_charged_text(p_text text) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant jsonb := pgflow.expression_made_text(p_text);
begin
  if octet_length(p_text) >= 1000 then
    perform pgflow.expression_charge(length(p_text) / 1000);
  end if;
  return v_text;
end
$$;

-- Count visits against the budget. The count lives in a setting of the transaction, so that it costs a plain node
-- nothing; `pgflow.evaluate` sets it to 0.
create or replace function pgflow.expression_charge(p_visits numeric) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_visits numeric;
begin
  if p_visits < 1 then
    return;
  end if;
  v_visits := current_setting('pgflow.expression_visits', true)::numeric + p_visits;
  if v_visits > 200000 then
    raise exception using errcode = 'PF010', message = 'the expression takes more than 200,000 steps';
  end if;
  perform set_config('pgflow.expression_visits', v_visits::text, true);
end
$$;

-- Count the nodes of a tree.
create or replace function pgflow.expression_nodes(p_ast jsonb) returns int
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count int := 1;
  v_part jsonb;
begin
  if p_ast ->> 0 <> 'lit' then
    foreach v_part in array array(select jsonb_array_elements(p_ast)) loop
      if jsonb_typeof(v_part) = 'array' then
        v_count := v_count + pgflow.expression_nodes(v_part);
      end if;
    end loop;
  end if;
  return v_count;
end
$$;

-- Walk a comprehension; charged before it starts. The loop variables are kept apart from the environment.
create or replace function pgflow.expression_for(p_ast jsonb, p_env jsonb, p_variables jsonb, p_depth int) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_items jsonb := pgflow.expression_node(p_ast -> 3, p_env, p_variables, p_depth);
  v_body constant jsonb := p_ast -> 1;
  v_name constant text := p_ast ->> 2;
  v_condition constant jsonb := nullif(p_ast -> 4, 'null');
  v_nodes int := pgflow.expression_nodes(v_body) + coalesce(pgflow.expression_nodes(v_condition), 0);
  v_made jsonb[] := '{}';
  v_count int := 0;
  v_size bigint := 0;
  v_item jsonb;
  v_variables jsonb;
begin
  if jsonb_typeof(v_items) <> 'array' then
    raise exception using errcode = 'PF010',
      message = 'a comprehension walks over a list, not over ' || pgflow.expression_kind(v_items);
  end if;
  perform pgflow.expression_check_items(jsonb_array_length(v_items));
  -- Outer variables are copied for each item; only large ones (5 kB a visit) count, to bound time.
  perform pgflow.expression_charge(jsonb_array_length(v_items)::bigint * (v_nodes + pg_column_size(p_variables) / 5000));
  foreach v_item in array array(select jsonb_array_elements(v_items)) loop
    v_variables := p_variables || jsonb_build_object(v_name, v_item);
    if v_condition is null
       or pgflow.expression_truth(pgflow.expression_node(v_condition, p_env, v_variables, p_depth)) then
      v_item := pgflow.expression_node(v_body, p_env, v_variables, p_depth);
      v_count := v_count + 1;
      v_made[v_count] := v_item;
      v_size := v_size + pg_column_size(v_item);
      if v_size > 67108864 then
        raise exception using errcode = 'PF010', message = 'the value is larger than 1 MiB';
      end if;
    end if;
  end loop;
  return to_jsonb(v_made);
end
$$;

-- Evaluate one node: at its heart a choice by operator, the frequent ones first.
create or replace function pgflow.expression_node(p_ast jsonb, p_env jsonb, p_variables jsonb, p_depth int) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_operator constant text := p_ast ->> 0;
  v_value jsonb;
  v_other jsonb;
  v_parts jsonb[] := '{}';
  v_place int := 0;
begin
  if p_depth > 200 then
    raise exception using errcode = 'PF010', message = 'the expression is nested too deeply';
  end if;
  case v_operator
    when 'path' then
      v_value := p_env -> (p_ast ->> 1);
      if p_variables <> '{}' and pg_column_size(v_value) > 5000 then
        perform pgflow.expression_charge(pg_column_size(v_value) / 5000);
      end if;
      return coalesce(v_value, 'null');
    when 'lit' then
      return p_ast -> 1;
    when 'var' then
      return coalesce(p_variables -> (p_ast ->> 1), 'null');
    when '==', '!=' then
      v_value := pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1);
      v_other := pgflow.expression_node(p_ast -> 2, p_env, p_variables, p_depth + 1);
      return to_jsonb((v_value = v_other or pgflow.expression_equal(v_value, v_other)) = (v_operator = '=='));
    when 'and', 'or' then
      for i in 1 .. jsonb_array_length(p_ast) - 1 loop
        v_value := pgflow.expression_node(p_ast -> i, p_env, p_variables, p_depth + 1);
        exit when (case v_value when 'true' then true when 'false' then false
                     else pgflow.expression_truth(v_value) end) = (v_operator = 'or');
      end loop;
      return v_value;
    when 'not' then
      v_value := pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1);
      return case v_value when 'true' then 'false' when 'false' then 'true'
        else to_jsonb(not pgflow.expression_truth(v_value)) end;
    when '<', '<=', '>', '>=' then
      return to_jsonb(pgflow.expression_compare(v_operator,
        pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1),
        pgflow.expression_node(p_ast -> 2, p_env, p_variables, p_depth + 1)));
    when 'get' then
      v_value := pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1);
      return case jsonb_typeof(v_value) when 'object' then coalesce(v_value -> (p_ast ->> 2), 'null') else 'null' end;
    when 'index' then
      return pgflow.expression_pick(
        pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1),
        pgflow.expression_node(p_ast -> 2, p_env, p_variables, p_depth + 1));
    when 'in', 'not in' then
      return to_jsonb(pgflow.expression_contains(
        pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1),
        pgflow.expression_node(p_ast -> 2, p_env, p_variables, p_depth + 1)) = (v_operator = 'in'));
    when '+', '-', '*', '/', '%' then
      return pgflow.expression_arithmetic(v_operator,
        pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1),
        pgflow.expression_node(p_ast -> 2, p_env, p_variables, p_depth + 1));
    when 'neg' then
      v_value := pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1);
      if jsonb_typeof(v_value) <> 'number' then
        raise exception using errcode = 'PF010', message = '`-` cannot take ' || pgflow.expression_kind(v_value);
      end if;
      return to_jsonb(- pgflow.expression_number(v_value));
    when 'if' then
      return pgflow.expression_node(
        case when pgflow.expression_truth(pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1))
          then p_ast -> 2 else p_ast -> 3 end, p_env, p_variables, p_depth + 1);
    when 'for' then
      return pgflow.expression_for(p_ast, p_env, p_variables, p_depth + 1);
    when 'contains' then  -- pgflow's pattern conditions; no spelling in files
      return to_jsonb(pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1)
        @> pgflow.expression_node(p_ast -> 2, p_env, p_variables, p_depth + 1));
    else null;
  end case;
  for i in case when v_operator in ('call', 'dict') then 2 else 1 end .. jsonb_array_length(p_ast) - 1
      by case v_operator when 'dict' then 2 else 1 end loop
    v_place := v_place + 1;
    v_parts[v_place] := pgflow.expression_node(p_ast -> i, p_env, p_variables, p_depth + 1);
  end loop;
  return pgflow.expression_gather(p_ast, v_parts);
end
$$;

-- Evaluate a node whose parts have their values: a function, a list, an object, a template.
create or replace function pgflow.expression_gather(p_ast jsonb, p_parts jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  case p_ast ->> 0
    when 'call' then
      return pgflow.expression_call(p_ast ->> 1, p_parts);
    when 'list' then
      return to_jsonb(p_parts);
    when 'dict' then
      return (select coalesce(jsonb_object_agg(p_ast ->> (2 * place::int - 1), part order by place), '{}')
              from unnest(p_parts) with ordinality as parts (part, place));
    when 'text' then
      return pgflow.expression_charged_text(
        (select coalesce(string_agg(pgflow.expression_text(part), '' order by place), '')
         from unnest(p_parts) with ordinality as parts (part, place)));
    else
      raise exception using errcode = 'PF010', message = format('there is no operator %s', p_ast ->> 0);
  end case;
end
$$;

-- Give {"value": …} or {"error": "one sentence"}; never raises but for a cancelled statement.
-- Called by `pgflow.advance` and whatever else decides in SQL; takes no lock, reads no row.
create or replace function pgflow.evaluate(p_ast jsonb, p_env jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_visits constant text := set_config('pgflow.expression_visits', '0', true);
  v_value jsonb;
begin
  v_value := pgflow.expression_node(p_ast, p_env, '{}', 0);
  -- What a path names passes as it is: only what the expression made is bounded. 2,500 bytes cannot be 1 MiB of text.
  if pg_column_size(v_value) > 2500 and jsonb_typeof(v_value) in ('array', 'object')
     and p_ast ->> 0 not in ('path', 'var', 'get', 'index', 'lit')
     and octet_length(pgflow.expression_canonical(v_value)::text) > 1048576 then
    return jsonb_build_object('error', 'the value is larger than 1 MiB');
  end if;
  return jsonb_build_object('value', v_value);
exception
  when sqlstate 'PF010' then
    return jsonb_build_object('error', sqlerrm);
  when others then
    return jsonb_build_object('error', 'the expression cannot be evaluated: ' || sqlerrm);
end
$$;
