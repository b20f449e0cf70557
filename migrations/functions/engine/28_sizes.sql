-- Limits of size (R-9), for every caller: what is too large is refused, except errors, which are
-- cut, since a failure must always be told.

-- True for more than 2 MiB of JSON, without the spaces that jsonb writes after commas and colons.
-- Most values are small and not written out: no double is written with more than 30 times its
-- size in jsonb, and nothing is compressed by more than 255.
create or replace function pgflow._is_too_large(p_value jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_column_size(p_value) > 8000
    and octet_length(p_value::text) > 2097152
    and octet_length(replace(replace(p_value::text, ', ', ','), ': ', ':')) > 2097152;
end
$$;

-- Raises PF002 for an input of a run that is too large.
create or replace function pgflow._refuse_input(p_name text, p_input jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pgflow._is_too_large(p_input) then
    raise exception using errcode = 'PF002',
      message = format('the input of flow "%s" is refused', p_name),
      detail = '[{"path": "", "message": "must have at most 2 MiB"}]';
  end if;
end
$$;

-- Raises 54000: an output of this step is too large. Null: no output is. (Our worker knows the code
-- as one about the content of a result, and reports a failure in its place.)
create or replace function pgflow._refuse_outputs(p_step_slug text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_step_slug is not null then
    raise exception using errcode = 'program_limit_exceeded', message = format(
      'an output of step "%s" has more than 2 MiB of JSON: return a reference', p_step_slug);
  end if;
end
$$;

-- Cuts the text of an error to 16,384 characters; a text that was cut ends with an ellipsis.
create or replace function pgflow._cut_text(p_text text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when length(p_text) > 16384 then left(p_text, 16383) || '…' else p_text end $$;

-- An error as it is kept: its texts cut, and without other keys where it is large.
create or replace function pgflow._cut_error(p_error jsonb) returns jsonb
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_column_size(p_error) <= 16000 then
    return p_error;
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'type', left(p_error ->> 'type', 200),
    'message', pgflow._cut_text(p_error ->> 'message'),
    'trace', pgflow._cut_text(p_error ->> 'trace'),
    'step', left(p_error ->> 'step', 128)));
end
$$;
