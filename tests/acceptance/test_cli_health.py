"""`queues`, `workers`, and the filters of `runs`: what an operator sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.text import cells
from tests.acceptance.screen import Screen
from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.worker_process import StartCli

FLOW = """flow: order
steps:
  charge: {handler: app.broken, retry: {max_attempts: 1}}
"""
ASKS = "flow: asks\nsteps:\n  ok: {wait: {event: go}}\n"
PARENT = "flow: parent\nsteps:\n  sub: {flow: asks, with: {}}\n"


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """Three flows: one fails, one waits, one has a child that waits."""
    shell = Shell(tmp_path, database)
    shell.write("app.py", "def broken(input): raise ValueError('acquirer b is away')\n")
    for name, text in {"order": FLOW, "asks": ASKS, "parent": PARENT}.items():
        shell.write(f"{name}.yaml", text)
    shell("compile", "asks.yaml", "order.yaml", "parent.yaml")
    return shell


def test_runs_are_filtered_by_more_than_flow_and_age(shell: Shell) -> None:
    """Waiting ones, the children of one, those with an error, old ones."""
    failed, asks, parent = (
        shell("start", flow).out.strip() for flow in ("order", "asks", "parent")
    )
    shell("worker", "--burst")

    def listed(*args: str) -> set[str]:
        return {run["id"] for run in shell("runs", "--json", *args).json}

    assert listed("--status", "waiting") == {asks, parent}
    (child,) = shell("runs", "--parent", parent[:8], "--json").json
    assert child["parent"]["id"] == parent
    assert listed("--error", "AWAY") == listed("--error", "valueerror") == {failed}
    assert listed("--older", "1h") == set()
    assert listed("--older", "0s", "--flow", "asks") == {asks}
    shell("runs", "--older", "old", expect=2)
    assert "there is no run" in shell("runs", "--parent", "ffff", expect=2).err


def test_queues_and_workers_are_listed(shell: Shell, start_cli: StartCli, tmp_path: Path) -> None:
    """As JSON and as tables; nothing is left of a worker that has stopped, unless it is asked."""
    shell("start", "order")
    queues = {queue["queue"]: queue for queue in shell("queues", "--json").json}
    shell("worker", "--burst")

    assert set(queues) == {"asks", "order", "parent", "pgflow__timers"}
    assert (queues["order"]["visible"], queues["order"]["workers"]) == (1, 0)
    lines = [line.split() for line in shell("queues").out.splitlines()]
    assert " ".join(lines[0]) == "QUEUE VISIBLE LEASED PARKED OLDEST WORKERS DEAD NOTE"
    assert lines[2][:4] == ["order", "0", "0", "0"]
    assert shell("workers", "--json").json == []
    (worker,) = shell("workers", "--all", "--json").json
    assert (worker["status"], worker["busy"], worker["slots"]) == ("stopped", 0, 8)

    start_cli("worker", "-c", "3", dsn=shell.database, cwd=tmp_path)
    (worker,) = eventually(lambda: shell("workers", "--json").json)
    assert (worker["status"], worker["slots"], worker["queues"]) == ("alive", 3, None)
    assert shell("workers").out.splitlines()[1].split()[1:4] == [str(worker["pid"]), "alive", "0/3"]
    assert shell("queues", "--json").json[0]["workers"] == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lists_fit_the_screen(shell: Shell, width: int) -> None:
    """A long name of a queue is cut, the numbers stay; times are relative."""
    long = "a_queue_with_a_name_that_is_as_long_as_can_be_"
    shell.write("long.yaml", f"flow: long\nsteps: {{a: {{handler: app.broken, queue: {long}}}}}\n")
    shell("compile", "long.yaml")
    shell("start", "long")
    assert shell.database is not None
    with psycopg.connect(shell.database) as connection:
        connection.execute("""insert into pgflow.workers
            (worker_id, queue_name, function_name, info)
            values (gen_random_uuid(), 'order,asks', 'x', '{"host": "node-17.rack-3.example.org",
              "pid": 4711, "release": "0.1.0", "concurrency": 8}')""")
    for command, last in (("queues", long[:7]), ("workers", "node-17")):
        with Screen(shell, command, width=width) as screen:
            assert screen.to_the_end() == 0
            lines = [line for line in screen.lines if line.strip()]
            assert max(map(cells, lines)) <= width
            assert any(line.startswith(last) for line in lines)


def test_doctor_ends_with_what_it_found(shell: Shell, tmp_path: Path) -> None:
    """Exit 1 for a problem, 3 for no database that is usable; --fix mends and looks again."""
    shell("start", "order")
    assert shell.database is not None
    with psycopg.connect(shell.database) as connection:
        connection.execute("delete from pgmq.q_order")

    ill = shell("doctor", "--json", expect=1).json
    fixed = shell("doctor", "--fix", "--json", expect=1).json

    assert ill["status"] == "problem"
    assert ill["fixed"] == []
    (check,) = (check for check in ill["checks"] if check["check"] == "invariants")
    assert check["findings"][0]["fix"] == "pgflow-yaml doctor --fix"
    assert fixed["fixed"] == ["swept the live runs: 1 repair"]
    statuses = {check["check"]: check["status"] for check in fixed["checks"]}
    assert (statuses["invariants"], statuses["settings"]) == ("ok", "problem")
    out = shell("doctor", expect=1).out
    assert " ✗ settings      fsync is off: a crash of the machine may destroy the database\n" in out
    assert "                 fix: alter system set fsync = on; select pg_reload_conf()\n" in out

    nowhere = Shell(tmp_path, "postgresql://nobody@localhost:1/none?connect_timeout=1")
    assert nowhere("doctor", "--json", expect=3).json["error"]["code"] == "unavailable"
    unknown = Shell(tmp_path, shell.database.replace("dbname=", "dbname=x_"))
    assert "does not exist" in unknown("doctor", expect=3).err


def test_doctor_of_a_database_without_tables(empty_database: str, tmp_path: Path) -> None:
    """Exit 3, with the command that makes them."""
    out = Shell(tmp_path, empty_database)("doctor", expect=3).out

    assert "the database does not have the tables of pgflow-yaml\n" in out
    assert "fix: pgflow-yaml migrate\n" in out
