"""`docs/how-to/hardening.md`: its SQL is what `migrate --roles` applies, and does what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.docs.fenced import ROOT, blocks
from tests.fixtures.roles import COMMANDS
from tests.security.conftest import as_login

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "how-to" / "hardening.md"
LOGINS = ("shop_ci", "shop_web", "shop_worker", "shop_support")


@pytest.fixture
def hardened(server: object, guarded: str) -> Iterator[str]:
    """A database in which every block of the page has run, in its order."""
    with psycopg.connect(guarded, autocommit=True) as admin:
        for block in blocks("sql", [PAGE]):
            admin.execute(block.text.encode())
        yield guarded
        for login in LOGINS:
            admin.execute(f"drop role {login}".encode())


def test_the_grants_of_the_page_are_those_of_the_command() -> None:
    """One source: the page shows the file."""
    grants = (ROOT / "migrations" / "roles" / "90_grants.sql").read_text(encoding="utf-8")

    assert blocks("sql", [PAGE])[-1].text == grants


def test_the_commands_of_the_page_are_what_the_tests_use_each_role_for() -> None:
    """`make test-roles` runs each command with the role of its row, which is thus enough."""
    rows = [line.split("|")[1:3] for line in PAGE.read_text(encoding="utf-8").splitlines()
            if line.startswith("| `pgflow_")]  # fmt: skip
    said = {role.strip("` "): set(re.findall(r"`(\w+)`", words)) for role, words in rows}

    for role in ("deployer", "client", "worker"):
        mine = {name for name, login in COMMANDS.items() if login == f"t_{role}"}
        assert said[f"pgflow_{role}"] == mine
    assert not said["pgflow_reader"] & set(COMMANDS) - {"failed"}


def test_the_sql_of_the_page_limits_the_logins(hardened: str) -> None:
    """Each can do what its role says, the worker in its queues only."""
    allowed = {
        "shop_ci": "select pgflow.list_flows()",
        "shop_web": "select pgflow.list_runs()",
        "shop_support": "select pgflow.find_run('x')",
        "shop_worker": f"select pgflow.register_worker('{uuid4()}', '{{orders,invoices}}', '{{}}')",
    }
    denied = {
        "shop_ci": "select pgflow.start_run('orders')",
        "shop_web": "select pgflow.activate('orders', '1')",
        "shop_support": "select pgflow.cancel_run(gen_random_uuid())",
        "shop_worker": f"select pgflow.register_worker('{uuid4()}', '{{payroll}}', '{{}}')",
    }
    for login in LOGINS:
        with psycopg.connect(as_login(hardened, login), autocommit=True) as connection:
            connection.execute(allowed[login].encode())
            for statement in (
                denied[login],
                "table pgflow.runs",
                "select pgmq.metrics_all()",
            ):
                with pytest.raises(InsufficientPrivilege):
                    connection.execute(statement.encode())
