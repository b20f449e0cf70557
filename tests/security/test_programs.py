"""The programs as members of the roles: each does its part, and is told what it may not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell
from tests.security.conftest import as_login

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

    from tests.fixtures.worker_process import StartCli

HANDLERS = """
def double(item): return item * 2
def broken(input): raise ValueError("no")
def size(run): return len(run["text"])
def note(**values): return values
"""
CHILD = "flow: child\nsteps: {note: {handler: app.note}}\n"
FLOW = """
flow: order
input: {numbers: {type: array}, text: {type: string}}
steps:
  each: {handler: app.double, map: input.numbers}
  review: {wait: {event: review}}
  pause: {wait: {for: 10ms}, depends_on: [review]}
  late: {handler: app.note, with: {n: 1}, depends_on: [pause]}
  risky: {handler: app.broken, retry: {max_attempts: 2, base_delay: 1ms}, when_exhausted: skip}
  sub: {flow: child, with: {}, depends_on: [each]}
finally:
  last: {handler: app.note, with: {status: "${{ run.status }}"}}
"""


@pytest.fixture
def shell(tmp_path: Path, guarded: str, logins: Callable[..., str]) -> Callable[..., Shell]:
    """The command line in one folder, for a new login with these roles."""
    (tmp_path / "app.py").write_text(HANDLERS)
    (tmp_path / "child.yaml").write_text(CHILD)
    (tmp_path / "order.yaml").write_text(FLOW)

    def make(*roles: str) -> Shell:
        login = logins(*(f"pgflow_{role}" for role in roles))
        return Shell(tmp_path, as_login(guarded, login))

    return make


def test_each_program_needs_its_role_only(
    shell: Callable[..., Shell], start_cli: StartCli, tmp_path: Path
) -> None:
    """Deployer, client, worker and reader take a flow with all kinds of steps to its end."""
    deployer, client, reader = shell("deployer"), shell("client"), shell("reader")
    deployer("compile", "child.yaml", "order.yaml")
    started = client("start", "order", "--input", '{"numbers": [1, 2], "text": "x"}', "--json")
    run = started.json["run_id"]
    client("approve", run, "review", "--by", "ann")

    start_cli("worker", dsn=shell("worker").database, cwd=tmp_path)
    client("watch", run)

    shown = reader("show", run, "--json").json
    statuses = {step["slug"]: step["status"] for step in shown["steps"]}
    assert statuses == dict.fromkeys(statuses, "completed") | {"risky": "skipped"}
    assert shown["run"]["status"] == "completed"


@pytest.mark.parametrize(
    ("role", "command", "function"),
    [
        ("reader", ["start", "child"], "start_run"),
        ("client", ["compile", "child.yaml"], "deploy"),
        ("worker", ["runs"], "list_runs"),
    ],
)
def test_what_a_role_may_not_do_is_one_sentence(
    role: str, command: list[str], function: str, shell: Callable[..., Shell]
) -> None:
    """It names the function and what the owner can do; no traceback."""
    shell("deployer")("compile", "child.yaml")

    said = shell(role)(*command, expect=1)

    assert said.out == ""
    assert f"permission denied for function {function}" in said.err
    assert said.err.count("\n") == 1


def test_a_login_without_a_role_is_told(shell: Callable[..., Shell]) -> None:
    """The schema itself is closed: nothing else can be found out."""
    said = shell()("runs", expect=3)

    assert "permission denied for schema pgflow" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", ["pg_class", "now", "count", "runs"])
def test_objects_of_a_caller_shadow_nothing(
    name: str, connect: Callable[..., psycopg.Connection], owner: psycopg.Connection
) -> None:
    """T14: tables, functions and operators in the temporary schema are not what a door finds."""
    client = connect("client")
    client.execute(f"create temp table {name} (x int)".encode())
    client.execute(
        f"create function pg_temp.{name}() returns timestamptz language plpgsql as "
        "$$ begin raise exception 'hijacked as %', current_user; end $$".encode()
    )
    client.execute("set search_path = pg_temp, pg_catalog")

    assert client.execute("select pgflow.list_runs()").fetchone() == ([],)
    assert client.execute("select pgflow.find_run('x')").fetchone() == ([],)
