"""Several databases: routes, look-ups in all of them, merged lists, `--database`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from tests.acceptance.shell import Shell
from tests.fixtures.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgflow_yaml.database.embedded import LocalServer

FLOW = "flow: {name}\nsteps:\n  go: {{handler: app.go}}\n"
WAITS = "flow: {name}\nsteps:\n  go: {{wait: {{event: yes_please}}}}\n"


@pytest.fixture
def second(server: LocalServer, template: str) -> Iterator[str]:
    """Where to connect to a second database, migrated as the first one is."""
    name = f"t_{uuid4().hex[:12]}"
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        try:
            yield server.conninfo(name)
        finally:
            admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def shell(tmp_path: Path, database: str, second: str) -> Shell:
    """A project whose flows `order…` go to `eu`; the others stay in the default database."""
    found = Shell(tmp_path, database)
    project(found, second)
    found.write("app.py", "def go(input): return 1\n")
    for name in ("order", "bill"):
        found.write(f"{name}.flow.yaml", FLOW.format(name=name))
    return found


def project(shell: Shell, second: str, routes: str = '{"order*" = "eu"}') -> None:
    shell.write(
        "pyproject.toml",
        f'[tool.pgflow-yaml]\nroutes = {routes}\n[tool.pgflow-yaml.databases]\neu = "{second}"\n',
    )


def flows_in(conninfo: str) -> list[Any]:
    with psycopg.connect(conninfo) as db:
        slugs = db.execute("select flow_slug from pgflow.flows order by 1")
        return [slug.partition("__")[0] for (slug,) in slugs]


def test_each_flow_is_deployed_where_its_route_leads(
    shell: Shell, database: str, second: str
) -> None:
    """`compile` says where, in the order of the files; nothing else is anywhere."""
    done = shell("compile", "order.flow.yaml", "bill.flow.yaml")

    assert [line.rpartition(", in database ")[2] for line in done.out.splitlines()] == [
        *("eu", "default")
    ]
    assert (flows_in(database), flows_in(second)) == (["bill"], ["order"])
    again = shell("compile", "order.flow.yaml", "bill.flow.yaml", "--json").json
    assert [(row["name"], row["database"], row["status"]) for row in again] == [
        ("order", "eu", "unchanged"),
        ("bill", "default", "unchanged"),
    ]


def test_runs_start_where_their_flow_is_and_are_found_everywhere(shell: Shell) -> None:
    """By id, the beginning of one, key and `last`; lists have all, the newest first."""
    shell("compile", "order.flow.yaml", "bill.flow.yaml")
    order = shell("start", "order", "--key", "one").out.strip()
    bill = shell("start", "bill", "--key", "two").out.strip()

    for text, run in ((order, order), (bill[:8], bill), ("one", order), ("last", bill)):
        assert shell("show", text, "--json").json["run"]["id"] == run
    rows = shell("runs", "--json").json
    assert [(row["id"], row["database"]) for row in rows] == [(bill, "default"), (order, "eu")]
    assert [row["id"] for row in shell("runs", "--json", "-n", "1").json] == [bill]
    assert [row["id"] for row in shell("runs", "--flow", "order", "--json").json] == [order]
    assert "DATABASE" in shell("runs").out.splitlines()[0]
    assert [row["database"] for row in shell("flows", "--json").json] == ["default", "eu"]
    assert {row["database"] for row in shell("queues", "--json").json} == {"default", "eu"}

    cancelled = shell("cancel", "one", bill, "--json").json
    assert [row["run_id"] for row in cancelled] == [order, bill]


def test_one_database_is_chosen_by_its_name_or_by_dsn(
    shell: Shell, database: str, second: str
) -> None:
    """Then routes count no longer, and the rows name no database."""
    shell("compile", "order.flow.yaml", "bill.flow.yaml")
    run = shell("start", "order").out.strip()

    for words in (["--database", "eu"], ["--dsn", second]):
        (row,) = shell("runs", "--json", *words).json
        assert (row["id"], "database" in row) == (run, False)
    assert shell("runs", "--json", "--database", "default").json == []
    assert shell("runs", "--json", "--dsn", database).json == []
    refused = shell("start", "order", "--database", "default", expect=2)
    assert 'there is no flow "order" in this database' in refused.err
    unknown = shell("runs", "--database", "europe", expect=2)
    assert 'there is no database "europe"' in unknown.err
    both = shell("runs", "--database", "eu", "--dsn", second, expect=2)
    assert "either --dsn or --database" in both.err


def test_what_names_neither_flow_nor_run_needs_the_name_of_a_database(shell: Shell) -> None:
    """A change of many runs is for one database."""
    for words in (["prune", "--dry-run"], ["cancel", "--status", "started", "--yes"], ["ui"]):
        refused = shell(*words, expect=2)
        assert "choose one by --database default or eu" in refused.err
    assert shell("prune", "--dry-run", "--database", "eu").out == "nothing is old enough\n"


def test_a_key_that_two_databases_have_needs_a_choice(shell: Shell) -> None:
    """An id never does."""
    shell("compile", "order.flow.yaml", "bill.flow.yaml")
    runs = [shell("start", flow, "--key", "same").out.strip() for flow in ("order", "bill")]

    refused = shell("show", "same", expect=2)
    assert "runs in several databases: default and eu; --database chooses one" in refused.err
    chosen = shell("show", "same", "--database", "eu", "--json").json
    assert chosen["run"]["id"] == runs[0]


def test_a_child_runs_in_the_database_of_its_parent(shell: Shell, second: str) -> None:
    """Deploying a parent is refused where the child has a route elsewhere, and says where."""
    shell.write("parent.yaml", "flow: parent\nsteps:\n  pay:\n    flow: order\n")

    refused = shell("compile", "parent.yaml", "order.flow.yaml", expect=2)
    assert (
        'parent.yaml:3:3: flow "parent" goes to database "default" and runs flow "order", which '
        'goes to "eu"; give both one route'
    ) in " ".join(refused.err.split())
    assert flows_in(second) == []
    project(shell, second, '{"*" = "eu"}')
    shell("compile", "parent.yaml", "order.flow.yaml")
    assert flows_in(second) == ["order", "parent"]


def test_a_flow_hears_only_flows_of_its_own_database(shell: Shell) -> None:
    """A name in `after` that goes elsewhere would never start anything."""
    shell.write("later.yaml", FLOW.format(name="later") + "after: {flows: [order]}\n")

    refused = shell("compile", "later.yaml", "order.flow.yaml", expect=2)
    assert 'starts after flow "order", which goes to "eu"' in " ".join(refused.err.split())


def test_run_executes_where_the_flow_is(shell: Shell) -> None:
    """In this process, as ever; `retry` and `run --resume` find the run."""
    done = shell("run", "order.flow.yaml", "--json")
    (row,) = shell("runs", "--json").json

    assert (row["flow"], row["status"], row["database"]) == ("order", "completed", "eu")
    assert row["id"] in done.out
    shell("run", "--resume", row["id"][:8])
    refused = shell("run", "order.flow.yaml", "bill.flow.yaml", expect=2)
    assert "these files go to the databases eu and default" in " ".join(refused.err.split())


def test_migrate_and_doctor_go_over_all(shell: Shell, empty_database: str, tmp_path: Path) -> None:
    """Or one, by --database."""
    project(shell, empty_database)

    assert 'database "eu"' in shell("runs", expect=3).err
    states = shell("migrate", "--status", "--json").json
    assert {(row["database"], row["state"]) for row in states} >= {
        ("default", "applied"),
        ("eu", "pending"),
    }
    assert shell("migrate", "--database", "default").out == "up to date\n"
    lines = shell("migrate").out.splitlines()
    assert lines[0] == "default: up to date"
    assert lines[1].startswith("eu: applied ")
    reports = shell("doctor", "--json", expect=1).json  # the server of tests is not durable
    assert [report["database"] for report in reports] == ["default", "eu"]
    refused = shell("migrate", "--dry-run", expect=2)
    assert "choose one by --database" in refused.err


def test_a_database_that_is_away_costs_its_own_rows_only(shell: Shell, second: str) -> None:
    """A list says so and exits with 3; a run of another one is found by its whole id."""
    shell("compile", "order.flow.yaml", "bill.flow.yaml")
    bill = shell("start", "bill", "--key", "one").out.strip()
    proxy = Proxy(second)
    project(shell, proxy.conninfo)
    assert len(shell("flows", "--json").json) == 2
    proxy.close()

    listed = shell("runs", "--json", expect=3)
    assert [row["id"] for row in listed.json] == [bill]
    assert 'database "eu" is left out' in listed.err
    assert shell("show", bill, "--json").json["run"]["id"] == bill
    unsure = shell("show", "one", expect=3)
    assert 'database "eu" may have the run "one" and is away' in " ".join(unsure.err.split())
    assert "there is no run" not in shell("show", uuid4().hex, expect=3).err


def test_a_wrong_route_is_one_sentence(shell: Shell, second: str) -> None:
    """With the file; nothing is started."""
    project(shell, second, '{"order" = "us"}')

    refused = shell("runs", expect=2)
    assert 'pyproject.toml: route "order": there is no database "us"' in refused.err
    assert refused.out == ""
