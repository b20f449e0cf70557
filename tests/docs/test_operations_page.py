"""The SQL of the documentation works, and the table of functions matches the database."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.client import Client
from pgflow_yaml.project.files import load
from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPERATIONS = ROOT / "docs" / "how-to" / "operations.md"
REFERENCE = ROOT / "docs" / "reference" / "sql.md"
FLOWS = {
    "bookkeeping": "input: {order_id: {type: string}}\nsteps: {book: {handler: app.book}}\n",
    "orders": "steps: {review: {wait: {event: review}}}\n",
}
ROW = re.compile(r"^\| (`pgflow\..+?`) \| `\{(.+)\}` \|$", re.MULTILINE)


@pytest.fixture
def client(database: str, tmp_path: Path) -> Iterator[Client]:
    """A database with the two flows and a run that waits."""
    with Client(database) as client:
        for name, text in FLOWS.items():
            file = tmp_path / f"{name}.yaml"
            file.write_text(f"flow: {name}\n{text}")
            client.deploy(load(file))
        client.start("orders", key="order-4711")
        yield client


def statements() -> list[str]:
    """The lines of the page's transaction."""
    (block,) = blocks("sql", [OPERATIONS])
    return block.text.splitlines()


def state(client: Client) -> tuple[int, str]:
    """Return the number of runs of bookkeeping, and the status of the waiting run."""
    (order,) = client.list_runs(flow="orders")
    return len(client.list_runs(flow="bookkeeping")), order.status


def test_start_and_approval_are_part_of_the_transaction(client: Client, database: str) -> None:
    """Rolled back, neither has happened; committed, both have."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table invoices (order_id text, cents int)")
        for line in statements():
            connection.execute(line.replace("commit;", "rollback;"))
        rolled_back = state(client)
        for line in statements():
            connection.execute(line)

    assert rolled_back == (0, "started")
    assert state(client) == (1, "completed")


def test_the_functions_give_what_the_page_says(client: Client, database: str) -> None:
    """Names, numbers of arguments, and the names in what each of them gives."""
    page = {
        name: (arguments.split(", "), set(re.findall(r'"(\w+)"', names)))
        for calls, names in ROW.findall(REFERENCE.read_text(encoding="utf-8"))
        for name, arguments in re.findall(r"pgflow\.(\w+)\((.*?)\)", calls)
    }
    called = {
        "start_run": "'orders', '{}', 'two', null, null, null, null, 'ada'",
        "send_event": "'two', 'other', '1', 'ada', gen_random_uuid()",
        "approve_step": "'two', 'review', 'fine', 'ada', gen_random_uuid(), null, array['ops']",
        "reject_step": "'two', 'review', 'no', 'ada', gen_random_uuid(), null, null",
        "cancel_run": "(select run_id from pgflow.runs where run_key = 'two'), 'x', null",
        "retry_run": "'two', null, array['review'], false, null, null, false, 'ada', null, true",
        "drop_failed": "'broken', 'ada'",
    }
    assert set(page) == set(called)
    client.start("orders", key="broken")
    client.reject("broken", "review")
    with psycopg.connect(database, autocommit=True) as connection:
        for name, arguments in called.items():
            row = connection.execute(f"select pgflow.{name}({arguments})").fetchone()
            assert row is not None
            listed, names = page[name]
            assert set(row[0]) == names, name
            assert listed == ["…"] or len(listed) == len(arguments.split(", ")), name
