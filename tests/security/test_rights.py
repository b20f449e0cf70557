"""S-6: who may call which function and touch which table, asked of the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.database import migrate
from pgflow_yaml.errors import SchemaMismatch
from tests.security.conftest import as_login

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).with_name("rights.txt")
ROLES = ("reader", "client", "deployer", "worker")
RIGHTS = """
with roles(role) as (
  select unnest(array['reader', 'client', 'deployer', 'worker', 'public'])),
held(role, thing, verb) as (
  select r.role, p.proname || '()', 'execute' from roles r, pg_proc p
  where p.pronamespace in ('pgflow'::regnamespace, 'pgmq'::regnamespace)
    and has_function_privilege(
      case r.role when 'public' then 'public' else 'pgflow_' || r.role end, p.oid, 'execute')
  union all
  select r.role, c.relnamespace::regnamespace || '.' || c.relname, lower(v.verb)
  from roles r, pg_class c, unnest(array[
    'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) v(verb)
  where c.relnamespace in ('pgflow'::regnamespace, 'pgmq'::regnamespace)
    and c.relkind in ('r', 'p', 'v', 'm')
    and has_table_privilege(
      case r.role when 'public' then 'public' else 'pgflow_' || r.role end, c.oid, v.verb)
  union all
  select r.role, c.relnamespace::regnamespace || '.' || c.relname, lower(v.verb)
  from roles r, pg_class c, unnest(array['USAGE', 'SELECT', 'UPDATE']) v(verb)
  where c.relnamespace in ('pgflow'::regnamespace, 'pgmq'::regnamespace) and c.relkind = 'S'
    and has_sequence_privilege(
      case r.role when 'public' then 'public' else 'pgflow_' || r.role end, c.oid, v.verb)
  union all
  select r.role, 'schema ' || n.nspname, lower(v.verb)
  from roles r, pg_namespace n, unnest(array['USAGE', 'CREATE']) v(verb)
  where n.nspname in ('pgflow', 'pgmq')
    and has_schema_privilege(
      case r.role when 'public' then 'public' else 'pgflow_' || r.role end, n.oid, v.verb)
)
select role, verb || ' ' || thing from held order by 1, 2"""


def golden() -> list[tuple[str, str]]:
    """The lines of the golden file: the right, and an x below each role that has it."""
    rights = list[tuple[str, str]]()
    for line in GOLDEN.read_text().splitlines():
        if line.startswith("#") or not line:
            continue
        right, marks = line[:40].strip(), line[40:].split()
        assert len(marks) == len(ROLES)
        rights += [(role, right) for role, mark in zip(ROLES, marks, strict=True) if mark == "x"]
    return rights


def test_each_role_has_the_rights_of_the_golden_file(owner: psycopg.Connection) -> None:
    """Role x function, table, sequence and schema; whatever is not listed is denied, to public too.

    The file is written by hand: a function that is added needs a decision there.
    """
    assert owner.execute(RIGHTS.encode()).fetchall() == sorted(golden())


def test_a_plain_migration_gives_nothing_to_everybody(db: psycopg.Connection) -> None:
    """Neither of our own functions nor of pgmq's, whose SQL leaves them to public."""
    everybodys = db.execute(
        """
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace in ('pgflow'::regnamespace, 'pgmq'::regnamespace)
          and has_function_privilege('public', p.oid, 'execute')
        """
    ).fetchall()

    assert everybodys == []


def test_every_granted_function_runs_as_the_owner_on_a_pinned_path(
    owner: psycopg.Connection,
) -> None:
    """S-14: a door that ran as its caller would need rights on tables."""
    doors = owner.execute(
        """
        select p.proname, p.prosecdef, p.proconfig[1],
          pg_get_userbyid(p.proowner)
        from pg_proc p, aclexplode(p.proacl) a
        where p.pronamespace = 'pgflow'::regnamespace and a.grantee <> p.proowner
        group by 1, 2, 3, 4
        """
    ).fetchall()

    assert len(doors) > 20
    for name, *facts in doors:
        assert [name, *facts] == [name, True, "search_path=pg_catalog, pg_temp", "pgflow_owner"]


def test_the_owner_of_a_new_database_is_nobody_who_logs_in(owner: psycopg.Connection) -> None:
    """Its functions do not run as the superuser who installed them."""
    facts = owner.execute(
        """
        select rolcanlogin, rolsuper, rolcreaterole, array(
          select distinct pg_get_userbyid(c.relowner)::text from pg_class c
          where c.relnamespace in ('pgflow'::regnamespace, 'pgmq'::regnamespace))
        from pg_roles where rolname = 'pgflow_owner'
        """
    ).fetchone()

    assert facts == (False, False, False, ["pgflow_owner"])


def test_a_later_migration_works_as_the_owner_and_restores_the_grants(
    guarded: str, owner: psycopg.Connection
) -> None:
    """Without --roles too: a function that an update brings is granted with it."""
    late = "functions/engine/91_signals.sql"
    before = owner.execute(RIGHTS.encode()).fetchall()
    owner.execute("drop function pgflow.send_event")
    owner.execute("update pgflow.migrations set sha256 = 'older' where name = %s", [late])

    applied = migrate.apply(guarded)

    assert applied[0] == late
    assert applied[-1] == "roles/90_grants.sql"
    assert owner.execute(RIGHTS.encode()).fetchall() == before
    made = "select pg_get_userbyid(proowner) from pg_proc where proname = 'send_event'"
    assert owner.execute(made.encode()).fetchone() == ("pgflow_owner",)


def test_what_another_role_put_into_the_schema_stops_no_migration(
    guarded: str, owner: psycopg.Connection
) -> None:
    """A function or a table on which the owner of the schema has no right; it stays as it is."""
    owner.execute("create function pgflow.mine() returns int language sql as 'select 1'")
    owner.execute("create table pgflow.notes (a int)")
    owner.execute("revoke all on function pgflow.mine() from public")
    owner.execute("grant select on pgflow.notes to pgflow_reader")
    before = owner.execute(RIGHTS.encode()).fetchall()

    assert migrate.apply(guarded, again=True)[-1] == "roles/90_grants.sql"

    assert owner.execute(RIGHTS.encode()).fetchall() == before


def test_roles_can_be_added_to_a_database_that_has_none(database: str) -> None:
    """The owner stays who it was; a database without roles is not given any by an update."""
    assert migrate.apply(database) == []

    applied = migrate.apply(database, roles=True)

    assert applied[-2:] == ["functions/99_grants.sql", "roles/90_grants.sql"]
    assert migrate.pending(database) == []
    with psycopg.connect(database) as connection:
        assert connection.execute(RIGHTS.encode()).fetchall() == sorted(golden())


def test_who_may_not_make_roles_is_told(logins: Callable[..., str], empty_database: str) -> None:
    """One sentence, and nothing is changed."""
    with psycopg.connect(empty_database, autocommit=True) as admin:
        login = logins()
        name = admin.info.dbname
        admin.execute(f"grant create on database {name} to {login}".encode())
        with pytest.raises(SchemaMismatch, match=r"10_make\.sql could .*may create roles and owns"):
            migrate.apply(as_login(empty_database, login), roles=True)

        assert admin.execute("select to_regnamespace('pgflow')").fetchone() == (None,)
