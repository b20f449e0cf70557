"""Every test with an engine ends with its invariants checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.testing.databases import set_virtual_time
from tests.engine.driver import Engine
from tests.engine.pgflow_door import Door
from tests.fixtures.pg import a_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.database.embedded import LocalServer


@pytest.fixture(scope="session")
def template(server: LocalServer, template: str) -> str:
    """The name of a migrated database whose clock the tests set, made once a run."""
    return a_template(server, "virtual_time", template, set_virtual_time)


@pytest.fixture
def engine(db: psycopg.Connection) -> Iterator[Engine]:
    """A worker on a fresh database; I1 to I8 hold when the test is over."""
    engine = Engine(db)
    yield engine
    assert engine.violations() == []


@pytest.fixture
def other(database: str, engine: Engine) -> Iterator[Engine]:
    """A second worker on the same database, on a connection of its own."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield Engine(connection)


@pytest.fixture
def by_hand(db: psycopg.Connection) -> Door:
    """A client of pgflow's functions that also writes rows by hand: no invariants afterwards."""
    return Door(db)


@pytest.fixture
def door(by_hand: Door) -> Iterator[Door]:
    """A client of pgflow's functions; the invariants hold when the test is over."""
    yield by_hand
    assert by_hand.violations() == []
