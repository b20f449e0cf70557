"""Databases whose roles are made, and logins that are members of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from tests.engine.driver import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgflow_yaml.database.embedded import LocalServer


@pytest.fixture
def logins(server: LocalServer) -> Iterator[Callable[..., str]]:
    """Make a login that is a member of these roles; dropped after the databases."""
    made = list[str]()

    def make(*roles: str) -> str:
        name = f"l_{uuid4().hex[:12]}"
        with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
            admin.execute(f"create role {name} login".encode())
            made.append(name)
            for role in roles:
                admin.execute(f"grant {role} to {name}".encode())
        return name

    yield make
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
        for name in made:
            admin.execute(f"drop role {name}".encode())


def as_login(conninfo: str, login: str) -> str:
    """The same database for another login."""
    assert "user=pgflow" in conninfo
    return conninfo.replace("user=pgflow", f"user={login}")


@pytest.fixture
def owner(guarded: str) -> Iterator[psycopg.Connection]:
    """A connection that may do everything."""
    with psycopg.connect(guarded, autocommit=True) as connection:
        yield connection


@pytest.fixture
def connect(
    logins: Callable[..., str], guarded: str
) -> Iterator[Callable[..., psycopg.Connection]]:
    """Connect with a new login that is a member of these roles."""
    opened = list[psycopg.Connection]()

    def make(*roles: str) -> psycopg.Connection:
        login = logins(*(f"pgflow_{role}" for role in roles))
        opened.append(psycopg.connect(as_login(guarded, login), autocommit=True))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def worker(connect: Callable[..., psycopg.Connection]) -> Engine:
    """A worker with a login of its own."""
    return Engine(connect("worker"))


@pytest.fixture
def rival(connect: Callable[..., psycopg.Connection]) -> Engine:
    """A worker of another team."""
    return Engine(connect("worker"))
