"""Databases for tests of flows: copied from a template and dropped."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def ensure_template(admin: str, name: str, fill: Callable[[], object]) -> None:
    """Create the database `name` unless it exists and `fill` has completed.

    `admin` is the conninfo of another database of the server. The caller holds a lock.
    """
    with _connected(admin) as connection:
        query = "select datistemplate from pg_catalog.pg_database where datname = %s"
        row = connection.execute(query, [name]).fetchone()
        if row == (True,):
            return
        quoted = sql.Identifier(name)
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(quoted))
        connection.execute(sql.SQL("create database {}").format(quoted))
        fill()
        connection.execute(sql.SQL("alter database {} is_template true").format(quoted))


def copy_database(admin: str, template: str, name: str) -> None:
    """Create a database as a copy of another one."""
    with _connected(admin) as connection:
        query = sql.SQL("create database {} template {} strategy file_copy")
        connection.execute(query.format(sql.Identifier(name), sql.Identifier(template)))


def run_script(conninfo: str, script: str) -> None:
    """Run statements of our own in a database, all or none."""
    with _connected(conninfo) as connection:
        connection.execute(script.encode())


def drop_database(admin: str, name: str) -> None:
    """Drop a database, and end all connections to it."""
    with _connected(admin) as connection:
        query = sql.SQL("drop database if exists {} with (force)")
        connection.execute(query.format(sql.Identifier(name)))


@contextmanager
def _connected(conninfo: str) -> Iterator[psycopg.Connection]:
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error).strip()
        raise Unavailable(f"no database could be made for the tests: {reason}") from error
