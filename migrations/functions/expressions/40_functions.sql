-- The functions of the expression language. As pgflow_yaml/language/expressions/functions.py, with
-- the same table of signatures.

-- Calls a function by its name, after a check of the number and the kinds of its arguments.
create or replace function pgflow.expression_call(p_name text, p_args jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kinds text := '';
  v_value jsonb;
begin
  for i in 1 .. cardinality(p_args) loop
    v_kinds := v_kinds || case jsonb_typeof(p_args[i])
      when 'string' then 't' when 'number' then 'n' when 'array' then 'l'
      when 'object' then 'o' when 'boolean' then 'b' else 'z' end;
  end loop;
  if v_kinds !~ pgflow.expression_signature(p_name) then
    raise exception using errcode = 'PF010',
      message = pgflow.expression_misfit(p_name, p_args, v_kinds);
  end if;
  -- Less costs nothing: neither short texts nor a few items, nor the length of a list.
  if pg_column_size(p_args) >= 40 and p_name <> 'default' and (case jsonb_typeof(p_args[1])
       when 'string' then pg_column_size(p_args) >= 140 or p_name = 'json'
       else p_name <> 'len' or jsonb_typeof(p_args[1]) = 'object' end)
  then
    perform pgflow.expression_charge_call(p_name, p_args);
  end if;
  v_value := case
    when p_name in ('len', 'str', 'int', 'float', 'abs', 'min', 'max', 'sum', 'default')
      then pgflow.expression_scalar_call(p_name, p_args)
    when p_name in ('lower', 'upper', 'strip', 'split', 'join', 'replace', 'startswith',
                    'endswith', 'json', 'to_json')
      then pgflow.expression_text_call(p_name, p_args)
    else pgflow.expression_list_call(p_name, p_args)
  end;
  if pg_column_size(v_value) >= 48 and p_name <> 'default' then
    if jsonb_typeof(v_value) in ('array', 'object') then
      perform pgflow.expression_check_made(pg_column_size(v_value));
    end if;
    perform pgflow.expression_charge_walk(array[v_value], pgflow.expression_cost('call'));
  end if;
  return v_value;
end
$$;

-- The kinds of the arguments of a function as a pattern, one bracket (or dot) for each: n number, t
-- text, l list, o object, b boolean, z null.
create or replace function pgflow.expression_signature(p_name text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_name
    when 'len' then '^[tlo]$' when 'default' then '^..$' when 'str' then '^.$'
    when 'int' then '^[ntb]$' when 'float' then '^[nt]$' when 'abs' then '^[n]$'
    when 'min' then '^.{1,100}$' when 'max' then '^.{1,100}$' when 'sum' then '^[l]$'
    when 'any' then '^[l]$' when 'all' then '^[l]$' when 'keys' then '^[o]$'
    when 'values' then '^[o]$' when 'items' then '^[o]$' when 'range' then '^[n]{1,3}$'
    when 'merge' then '^[o]{2,100}$' when 'flatten' then '^[l]$' when 'chunk' then '^[l][n]$'
    when 'product' then '^[l][l]$' when 'lower' then '^[t]$' when 'upper' then '^[t]$'
    when 'strip' then '^[t]$' when 'split' then '^[t][t]?$' when 'join' then '^[l][t]$'
    when 'replace' then '^[t][t][t]$' when 'startswith' then '^[t][t]$'
    when 'endswith' then '^[t][t]$' when 'sorted' then '^[l]$' when 'json' then '^[t]$'
    when 'to_json' then '^.$'
    else '(?!)' end; -- matches nothing
end
$$;

-- The message for arguments that do not fit the signature.
create or replace function pgflow.expression_misfit(p_name text, p_args jsonb[], p_kinds text)
returns text
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
  v_allowed := array(
    select m.match[1] from regexp_matches(v_signature, '\[(\w+)\]', 'g') m(match));
  for i in 1 .. length(p_kinds) loop
    v_letters := v_allowed[least(i, cardinality(v_allowed))];
    if position(substr(p_kinds, i, 1) in v_letters) = 0 then
      return format('argument %s of %s() is %s, not %s', i, p_name,
        pgflow.expression_kind(p_args[i]),
        (select string_agg(case letter when 'n' then 'a number' when 't' then 'a text' when 'l'
          then 'a list'
           when 'o' then 'an object' else 'a boolean' end, ' or ' order by nr)
         from string_to_table(v_letters, null) with ordinality as letters (letter, nr)));
    end if;
  end loop;
  return p_name || '() cannot take this';
end
$$;
