-- The functions of the expression language that read or make texts.

-- Calls a function of texts. Only ASCII letters change case: the rest depends on the version of a
-- library.
create or replace function pgflow.expression_text_call(p_name text, p_args jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text constant text := p_args[1] #>> '{}';
  v_other constant text := p_args[2] #>> '{}';
  v_lower constant text := 'abcdefghijklmnopqrstuvwxyz';
begin
  if p_name in ('split', 'replace') and v_other = '' then
    raise exception using errcode = 'PF010', message = p_name || '() cannot look for an empty text';
  end if;
  case p_name
    when 'lower' then return to_jsonb(translate(v_text, upper(v_lower), v_lower));
    when 'upper' then return to_jsonb(translate(v_text, v_lower, upper(v_lower)));
    when 'strip' then return to_jsonb(btrim(v_text, E' \t\n\r\f\x0b'));
    when 'startswith' then return to_jsonb(starts_with(v_text, v_other));
    when 'endswith' then return to_jsonb(right(v_text, length(v_other)) = v_other);
    when 'split' then return pgflow.expression_split(v_text, v_other);
    when 'join' then return pgflow.expression_join(p_args[1], v_other);
    when 'replace' then return pgflow.expression_replace(v_text, v_other, p_args[3] #>> '{}');
    when 'json' then return pgflow.expression_read_json(v_text);
    when 'to_json' then return pgflow.expression_made_text(
      pgflow.expression_canonical(p_args[1])::text);
  end case;
end
$$;

-- Splits at a separator, or at white space.
create or replace function pgflow.expression_split(p_text text, p_separator text) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[];
begin
  if p_separator is null then
    v_parts := array_remove(regexp_split_to_array(p_text, E'[ \t\n\r\f\x0b]+'), '');
  else
    v_parts := case when p_text = '' then '{""}' else string_to_array(p_text, p_separator) end;
  end if;
  perform pgflow.expression_check_items(cardinality(v_parts));
  return to_jsonb(v_parts);
end
$$;

-- Joins the texts of the items of a list.
create or replace function pgflow.expression_join(p_list jsonb, p_separator text) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[];
begin
  v_parts := array(
    select pgflow.expression_text(value) from jsonb_array_elements(p_list) with ordinality
    order by ordinality);
  if octet_length(p_separator)::bigint * (cardinality(v_parts) - 1) > 1048576 then
    raise exception using errcode = 'PF010', message = 'the value is larger than 1 MiB';
  end if;
  return pgflow.expression_made_text(array_to_string(v_parts, p_separator));
end
$$;

-- Replaces each part; the size is computed before the text is made.
create or replace function pgflow.expression_replace(p_text text, p_old text, p_new text)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_without bigint := octet_length(replace(p_text, p_old, ''));
  v_times bigint := (octet_length(p_text) - v_without) / octet_length(p_old);
begin
  if v_without + v_times * octet_length(p_new) > 1048576 then
    raise exception using errcode = 'PF010', message = 'the value is larger than 1 MiB';
  end if;
  return pgflow.expression_made_text(replace(p_text, p_old, p_new));
end
$$;

-- Reads JSON. At most 100 levels: Python's reader and this one give up at different depths.
create or replace function pgflow.expression_read_json(p_text text) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_value jsonb;
begin
  begin
    v_value := p_text::jsonb;
  exception when others then
    raise exception using errcode = 'PF010', message = 'json() needs the text of a JSON value';
  end;
  if jsonb_path_exists(v_value, 'strict $.**{101}') then
    raise exception using errcode = 'PF010', message = 'json() reads at most 100 levels';
  elsif jsonb_path_exists(v_value,
    'strict $.** ? (@.type() == "number" && (@ >= 1e4300 || @ <= -1e4300))') then
    raise exception using errcode = 'PF010', message = 'json() needs the text of a JSON value';
  end if;
  return v_value;
end
$$;
