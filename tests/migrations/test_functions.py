"""What holds for every function that the migrations make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.database import migrate

if TYPE_CHECKING:
    import psycopg

ROOT = Path(__file__).parents[2]
LAST = ["functions/98_planner.sql", "functions/99_grants.sql"]
FUNCTION = re.compile(r"function (pgflow\.\w+)\(.*?\$\$(.*?)\n\$\$;", re.DOTALL)
DECLARED = re.compile(r"^  (v_\w+) (?!.*set_config)", re.MULTILINE)
SETTINGS = """
select proname, setting from pg_proc, unnest(proconfig) setting
where pronamespace = 'pgflow'::regnamespace and setting ~ '^(enable_|jit|plan_cache_mode)'
order by 1, 2"""


def test_every_function_pins_its_search_path(db: psycopg.Connection) -> None:
    """S-14: no function resolves a name through a path that its caller chose."""
    unpinned = db.execute(
        """
        select proname from pg_proc
        where pronamespace = 'pgflow'::regnamespace and prokind in ('f', 'p')
          and 'search_path=pg_catalog, pg_temp' <> all(coalesce(proconfig, '{}'))
        order by 1
        """
    ).fetchall()

    assert unpinned == []


def test_no_function_is_there_twice(db: psycopg.Connection) -> None:
    """A changed signature gets a new name: overloads would make calls ambiguous.

    Functions of pgflow's door are excepted where pgflow itself overloads.
    """
    overloaded = db.execute(
        """
        select proname, count(*) from pg_proc where pronamespace = 'pgflow'::regnamespace
        group by 1 having count(*) > 1 order by 1
        """
    ).fetchall()

    assert overloaded == []


def test_nothing_new_is_everybodys_after_an_upgrade(database: str, db: psycopg.Connection) -> None:
    """S-6: an older release lacks some functions; those that come later are revoked as well."""
    late = "functions/engine/91_signals.sql"
    db.execute("drop function pgflow.send_event")
    db.execute("update pgflow.migrations set sha256 = 'older' where name = %s", [late])

    applied = migrate.apply(database)

    assert applied == [late, *LAST]
    everybodys = db.execute(
        """
        select proname from pg_proc,
          aclexplode(coalesce(proacl, acldefault('f', proowner))) granted
        where pronamespace = 'pgflow'::regnamespace and granted.grantee = 0
        """
    ).fetchall()
    assert everybodys == []


def test_planner_settings_outlive_a_function_that_is_applied_again(
    database: str, db: psycopg.Connection
) -> None:
    """`create or replace` forgets the settings of a function: the last files restore them."""
    before = db.execute(SETTINGS).fetchall()
    turn = "functions/engine/40_turn.sql"
    db.execute("alter function pgflow.turn reset all")
    db.execute("update pgflow.migrations set sha256 = 'older' where name = %s", [turn])

    applied = migrate.apply(database)

    assert applied == [turn, *LAST]
    assert ("turn", "plan_cache_mode=force_generic_plan") in before
    assert db.execute(SETTINGS).fetchall() == before


def test_planner_settings_stand_in_one_file() -> None:
    """A setting in the header of a function would be a second list."""
    files = (ROOT / "migrations").rglob("*.sql")
    pattern = re.compile(r"^set (enable_|jit|plan_cache_mode)", re.MULTILINE)

    assert [file.name for file in files if pattern.search(file.read_text())] == []


def test_every_declared_variable_is_used() -> None:
    """PostgreSQL says nothing about a variable that a change has left behind."""
    unused = [
        (name, variable)
        for file in (ROOT / "migrations").rglob("*.sql")
        for name, body in FUNCTION.findall(file.read_text())
        for variable in DECLARED.findall(body.split("\nbegin\n")[0])
        if len(re.findall(rf"\b{variable}\b", body)) == 1
    ]

    assert unused == []
