"""What holds for every function that the migrations make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.database import migrate

if TYPE_CHECKING:
    import psycopg


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
    late = "functions/82_events.sql"
    db.execute("drop function pgflow.send_event, pgflow.approve_step, pgflow.reject_step")
    db.execute("update pgflow.migrations set sha256 = 'older' where name = %s", [late])

    applied = migrate.apply(database)

    assert applied == [late, "functions/99_grants.sql"]
    everybodys = db.execute(
        """
        select proname from pg_proc,
          aclexplode(coalesce(proacl, acldefault('f', proowner))) granted
        where pronamespace = 'pgflow'::regnamespace and granted.grantee = 0
        """
    ).fetchall()
    assert everybodys == []
