"""What holds for every function that the migrations make."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
