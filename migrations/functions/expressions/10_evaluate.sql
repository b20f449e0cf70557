-- Expressions: from the tree that the compiler stored to its value, inside the caller's
-- transaction.
--
-- The twin of pgflow_yaml/language/expressions: same values, same errors (tests/expression_cases.py
-- checks both). A node is a JSON array that begins with its operator. Nothing here reads a table;
-- the environment is one flat object from dotted path to value. Inside, a failure is SQLSTATE
-- PF010; `pgflow.evaluate` turns all into {"error": …}. 20_values defines the values, 30_operators
-- the operators; 40 to 55 hold the functions of the language.

-- Evaluates an expression: {"value": …} or {"error": "one sentence"}; raises only errors that may
-- pass, which are not those of the expression. Called for conditions, maps, waits and outputs;
-- takes no lock, reads no row.
create or replace function pgflow.evaluate(p_ast jsonb, p_env jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- here, so that it is done before the block with the exceptions begins
  v_steps constant text := set_config('pgflow.expression_steps', '0', true);
  v_value jsonb;
begin
  v_value := pgflow.expression_node(p_ast, p_env, '{}', 0);
  -- Only values that the expression made are bounded, not those that a path names. 2,500 bytes
  -- cannot be 1 MiB of text.
  if pg_column_size(v_value) > 2500 and jsonb_typeof(v_value) in ('array', 'object')
     and p_ast ->> 0 not in ('path', 'var', 'get', 'index', 'lit')
     and (pg_column_size(v_value) > pgflow.expression_cost('made')
          or octet_length(pgflow.expression_canonical(v_value)::text) > 1048576) then
    return jsonb_build_object('error', 'the value is larger than 1 MiB');
  end if;
  return jsonb_build_object('value', v_value);
exception
  when sqlstate 'PF010' then
    return jsonb_build_object('error', sqlerrm);
  when others then
    if pgflow._may_pass(sqlstate) then
      raise;
    end if;
    return jsonb_build_object('error', 'the expression cannot be evaluated: ' || sqlerrm);
end
$$;

-- True for errors that have nothing to do with the values that were read: of connections (08), of
-- transactions and locks (25, 40, 55), of resources and limits (53), by operators (57), of the
-- system (58).
create or replace function pgflow._may_pass(p_sqlstate text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select left(p_sqlstate, 2) in ('08', '25', '40', '53', '55', '57', '58') $$;

-- Evaluates one node: a choice by operator, the frequent ones first.
create or replace function pgflow.expression_node(
  p_ast jsonb, p_env jsonb, p_variables jsonb, p_depth int
) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_operator constant text := p_ast ->> 0;
  v_value jsonb;
  v_other jsonb;
  v_parts jsonb[] := '{}';
  v_nr int := 0;
  v_size bigint := 0;
begin
  if p_depth > 200 then
    raise exception using errcode = 'PF010', message = 'the expression is nested too deeply';
  end if;
  case v_operator
    when 'path' then
      v_value := p_env -> (p_ast ->> 1);
      if p_variables <> '{}' and pg_column_size(v_value) >= 4000 then  -- a read copies
        perform pgflow.expression_charge(
          least(pg_column_size(v_value), pgflow.expression_cost('weight'))
          / pgflow.expression_cost('read'));
      end if;
      return coalesce(v_value, 'null');
    when 'lit' then
      return p_ast -> 1;
    when 'var' then
      return coalesce(p_variables -> (p_ast ->> 1), 'null');
    when '==', '!=' then
      v_value := pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1);
      v_other := pgflow.expression_node(p_ast -> 2, p_env, p_variables, p_depth + 1);
      if pg_column_size(v_value) + pg_column_size(v_other) >= 200 then
        perform pgflow.expression_charge_equal(v_value, v_other);
      end if;
      return to_jsonb(
        (v_value = v_other or pgflow.expression_equal(v_value, v_other)) = (v_operator = '=='));
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
      return case jsonb_typeof(v_value)
        when 'object' then coalesce(v_value -> (p_ast ->> 2), 'null') else 'null' end;
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
        raise exception using errcode = 'PF010',
          message = '`-` cannot take ' || pgflow.expression_kind(v_value);
      end if;
      return to_jsonb(- pgflow.expression_number(v_value));
    when 'if' then
      v_value := pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1);
      return pgflow.expression_node(
        case when pgflow.expression_truth(v_value) then p_ast -> 2 else p_ast -> 3 end,
        p_env, p_variables, p_depth + 1);
    when 'for' then
      return pgflow.expression_for(p_ast, p_env, p_variables, p_depth + 1);
    when 'contains' then  -- pgflow's pattern conditions; no spelling in files
      return to_jsonb(pgflow.expression_node(p_ast -> 1, p_env, p_variables, p_depth + 1)
        @> pgflow.expression_node(p_ast -> 2, p_env, p_variables, p_depth + 1));
    else null;
  end case;
  for i in case when v_operator in ('call', 'dict') then 2 else 1 end
      .. jsonb_array_length(p_ast) - 1 by case v_operator when 'dict' then 2 else 1 end
  loop
    v_nr := v_nr + 1;
    v_value := pgflow.expression_node(p_ast -> i, p_env, p_variables, p_depth + 1);
    v_parts[v_nr] := v_value;
    v_size := v_size + pg_column_size(v_value);
    if v_size > pgflow.expression_cost('made') then  -- bounded while they are made
      perform pgflow.expression_check_parts(v_parts, v_operator = 'call');
    end if;
  end loop;
  return pgflow.expression_gather(p_ast, v_parts);
end
$$;

-- Evaluates a node whose parts have their values: a function, a list, an object, a template.
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
      return (
        select coalesce(jsonb_object_agg(p_ast ->> (2 * p.nr::int - 1), p.part order by p.nr), '{}')
        from unnest(p_parts) with ordinality p(part, nr));
    when 'text' then
      if pg_column_size(p_parts) >= pgflow.expression_cost('free bytes') then
        perform pgflow.expression_charge_text(p_parts);
      end if;
      return pgflow.expression_made_text(
        (select coalesce(string_agg(pgflow.expression_text(p.part), '' order by p.nr), '')
         from unnest(p_parts) with ordinality p(part, nr)));
    else
      raise exception using errcode = 'PF010',
        message = format('there is no operator %s', p_ast ->> 0);
  end case;
end
$$;

-- Evaluates a comprehension; charged before it starts. The loop variables are kept apart from the
-- environment.
create or replace function pgflow.expression_for(
  p_ast jsonb, p_env jsonb, p_variables jsonb, p_depth int
) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_items jsonb := pgflow.expression_node(p_ast -> 3, p_env, p_variables, p_depth);
  v_body constant jsonb := p_ast -> 1;
  v_name constant text := p_ast ->> 2;
  v_condition constant jsonb := nullif(p_ast -> 4, 'null');
  v_nodes int := pgflow.expression_nodes(v_body)
    + case when v_condition is null then 0 else pgflow.expression_nodes(v_condition) end;
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
  -- Outer variables are copied for each item, and for each read: large ones cost a multiple.
  perform pgflow.expression_charge(jsonb_array_length(v_items)::bigint * v_nodes
    * (1 + pgflow.expression_weight(p_variables) / pgflow.expression_cost('read')));
  foreach v_item in array array(select jsonb_array_elements(v_items)) loop
    v_variables := p_variables || jsonb_build_object(v_name, v_item);
    if v_condition is null or pgflow.expression_truth(
      pgflow.expression_node(v_condition, p_env, v_variables, p_depth))
    then
      v_item := pgflow.expression_node(v_body, p_env, v_variables, p_depth);
      v_count := v_count + 1;
      v_made[v_count] := v_item;
      v_size := v_size + pg_column_size(v_item);
      if v_size > pgflow.expression_cost('made') then
        perform pgflow.expression_check_made(v_size);
      end if;
    end if;
  end loop;
  return to_jsonb(v_made);
end
$$;

-- The number of nodes of a tree.
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
