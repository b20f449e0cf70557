"""Installing and updating the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml import migrate

if TYPE_CHECKING:
    import psycopg


def test_a_migrated_database_is_up_to_date(db: psycopg.Connection, database: str) -> None:
    """Nothing is pending after `apply`, and applying again does nothing."""
    assert migrate.pending(database) == []

    assert migrate.apply(database) == []
