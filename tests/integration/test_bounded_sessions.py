"""Clients that only read and have little time: the server keeps both, behind poolers too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgflow_yaml import Client, PgflowError
from pgflow_yaml.database.store import dial
from tests.fixtures.roles import as_author

if TYPE_CHECKING:
    from tests.fixtures.proxy import Proxy
    from tests.fixtures.working import Works

FLOW = "flow: idle\nsteps:\n  go: {handler: shop.go, queue: slow}\n"
WRITES = "select pgflow.pause_queue('slow')"
SETTINGS = """select pg_catalog.current_setting('transaction_read_only') || ' '
  || pg_catalog.current_setting('statement_timeout')"""


def ignoring(proxy: Proxy, _patched: pytest.MonkeyPatch) -> None:
    """A pooler that ignores options: ignore_startup_parameters."""
    options = b"-c default_transaction_read_only=on"
    proxy.instead[options] = b"-c default_transaction_read_only=no"
    proxy.instead[b"statement_timeout=5000"] = b"statement_timeout=0000"


def refusing(_proxy: Proxy, patched: pytest.MonkeyPatch) -> None:
    """A pooler that refuses options."""

    def connect(conninfo: str) -> psycopg.Connection[Any]:
        if "options" in conninfo:
            raise psycopg.OperationalError("FATAL: unsupported startup parameter: options")
        return really(conninfo)

    really = dial._connect
    patched.setattr(dial, "_connect", connect)


def hiding(_proxy: Proxy, patched: pytest.MonkeyPatch) -> None:
    """A pooler whose sessions are not that of the server: the next one may have no options."""
    facts = dial._FACTS.replace(b"pg_catalog.pg_backend_pid()", b"0")
    assert facts != dial._FACTS
    patched.setattr(dial, "_FACTS", facts)


@pytest.mark.parametrize("pooler", [ignoring, refusing, hiding])
def test_a_reader_behind_a_pooler_writes_nothing(
    works: Works, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, pooler: Any
) -> None:
    """Nor does a statement of it take longer than it may; an error leaves no transaction open."""
    works.deploy(FLOW)
    pooler(proxy, monkeypatch)
    client = Client(as_author(proxy.conninfo), read_only=True, statement_seconds=5, patience=0.0)
    with client:
        ask: Any = client._store.ask
        assert ask(SETTINGS, []) == "on 5s"
        with pytest.raises(PgflowError, match="read-only transaction"):
            ask(WRITES, [])
        with pytest.raises(PgflowError, match="division by zero"):
            ask("select 1 / 0", [])
        assert ask(SETTINGS, []) == "on 5s"
        assert client._store._connection is not None
        assert client._store._connection.info.transaction_status.name == "IDLE"


def test_a_writer_with_little_time_commits(
    works: Works, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, db: psycopg.Connection
) -> None:
    """Each statement by itself, as without a pooler."""
    works.deploy(FLOW)
    refusing(proxy, monkeypatch)
    with Client(as_author(proxy.conninfo), statement_seconds=0.5, patience=0.0) as client:
        ask: Any = client._store.ask
        assert ask(SETTINGS, []) == "off 500ms"
        ask(WRITES, [])

    assert db.execute("select count(*) from pgflow.paused_queues").fetchone() == (1,)


def test_without_a_pooler_the_options_are_enough(proxy: Proxy) -> None:
    """One statement stays one round trip."""
    bounds: list[tuple[bool, float | None]] = [
        (False, None),
        (True, None),
        (False, 0.25),
        (True, 90),
    ]
    for read_only, seconds in bounds:
        with Client(
            as_author(proxy.conninfo), read_only=read_only, statement_seconds=seconds
        ) as client:
            client.list_flows()
            assert client._store._begin == ""
