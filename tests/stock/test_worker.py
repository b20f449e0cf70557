"""Stock handlers in runs: the command line, logs, retries, and the end of workers."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.acceptance.shell import Shell
from tests.acceptance.test_workflows import ALLOW, ROOT, Cli
from tests.fixtures.waiting import eventually
from tests.stock.test_shell import FAMILY, family, gone

if TYPE_CHECKING:
    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works
    from tests.stock.conftest import Peer

SHELL, HTTP, SQL = (f"pgflow_yaml.handlers.{name}" for name in ("shell", "http", "sql"))
TOKEN = "tok-4711-very-secret"
DEPLOY = f"""
flow: deploy
steps:
  build:
    handler: {SHELL}
    with:
      command: [sh, -c, 'echo "building $NAME"; exit 3']
      env: {{NAME: "${{{{ secrets.NAME }}}}"}}
    retry: 1
"""
HOLD = f"""
flow: hold
steps:
  hold:
    handler: {SHELL}
    with: {{command: [{sys.executable}, family.py]}}
"""


def test_the_command_line_says_what_a_flow_needs(tmp_path: Path, database: str) -> None:
    """A run leaves it alone without `--allow`; its error and its log have no secret."""
    shell = Shell(tmp_path, database, {"PGFLOW_YAML_SECRET_NAME": TOKEN})
    shell.write("deploy.yaml", DEPLOY)
    needs = f"  needs a worker with --allow {SHELL}\n"

    assert shell("validate", "deploy.yaml").out == f"deploy.yaml: deploy, 1 step, valid\n{needs}"
    assert f"only `--allow {SHELL}`" in shell("run", "deploy.yaml", expect=1).err
    assert shell("compile", "deploy.yaml").out.endswith(f"\n{needs}")
    shell("start", "deploy")
    shell("worker", "--burst", "--allow", SHELL)

    failed = shell("show", "last", "--json").json
    assert '"sh" ended with exit code 3; its last line:\\nbuilding ***' in str(failed)
    assert "building ***" in shell("logs", "last").out
    assert "commands.py" not in str(failed)
    with psycopg.connect(database) as connection:
        dump = connection.execute("select string_agg(l::text, '') from pgflow.task_logs l")
        assert TOKEN not in str(dump.fetchone())


def test_no_row_of_the_database_grants_a_program(works: Works) -> None:
    """Who can deploy a flow, or write its rows, gains no shell on a worker without one (S-8)."""
    touch = "with: {command: [touch, began]}"
    flows = [
        works.deploy(f"flow: plain\nsteps: {{a: {{handler: {SHELL}, {touch}}}}}\n"),
        works.deploy(f"flow: forged\nsteps: {{a: {{handler: app.go, {touch}}}}}\n"),
    ]
    with psycopg.connect(works.database, autocommit=True) as connection:
        forged = "update pgflow.steps set handler = %s where handler = 'app.go'"
        assert connection.execute(forged, [SHELL]).rowcount == 1
    runs = [works.client.start(flow) for flow in flows]

    works.drain(allow=["pgflow_yaml", "pgflow_yaml.handlers", HTTP])

    assert [works.client.get(run.id).status for run in runs] == ["started", "started"]
    assert not (works.app.folder / "began").exists()
    works.drain(allow=[SHELL])
    assert (works.app.folder / "began").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_programs_end_with_their_worker(
    database: str, tmp_path: Path, start_cli: StartCli, number: signal.Signals
) -> None:
    """Also when it is killed: nothing of them is left, and another worker begins anew."""
    shell = Shell(tmp_path, database)
    shell.write("hold.yaml", HOLD)
    shell.write("family.py", FAMILY + "signal.pause()\n")
    shell("compile", "hold.yaml")
    shell("start", "hold")
    worker = start_cli("worker", "--allow", SHELL, dsn=database, cwd=tmp_path)
    pids = family(tmp_path)

    worker.send(number)
    if number == signal.SIGTERM:
        worker.wait_for("stopping")
        worker.send(number)
    worker.wait()

    for pid in pids:
        eventually(lambda pid=pid: gone(pid), what=f"{pid} ends")  # type: ignore[misc]


def test_a_timeout_and_a_cancel_end_the_program(works: Works) -> None:
    """The run says which it was."""
    works.app.write("family.py", FAMILY + "signal.pause()\n")
    flow = works.deploy(HOLD.replace("retry: 1", "") + "    timeout: 1s\n    retry: 1\n")
    works.start(allow=[SHELL], lease_seconds=1)
    run = works.client.start(flow)

    ended = works.ended(run.id)

    assert ended.error is not None
    assert ended.error["type"] == "Timeout"
    pids = family(works.app.folder)
    (works.app.folder / "pids").unlink()
    flow = works.deploy(HOLD.replace("flow: hold", "flow: hold_on"))
    run = works.client.start(flow)
    pids += family(works.app.folder)
    works.client.cancel(run.id)
    for pid in pids:
        eventually(lambda pid=pid: gone(pid), what=f"{pid} ends")  # type: ignore[misc]


def test_a_step_waits_as_long_as_the_server_wants(
    works: Works, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Retry-After` replaces the step's own delay; the next attempt gets its reply."""
    monkeypatch.setenv("PGFLOW_YAML_SQL_SHOP", works.database)
    peer.replies = [
        (503, {"retry-after": "0"}, b""),
        (200, {"content-type": "application/json"}, b'[{"id": 1}, {"id": 2}]'),
    ]
    flow = works.deploy(
        dedent(f"""
        flow: orders
        steps:
          fetch:
            handler: {HTTP}
            with: {{url: "http://{peer.address}/orders"}}
            retry: {{max_attempts: 2, base_delay: 1h}}
          sum:
            handler: {SQL}
            depends_on: [fetch]
            with:
              database: shop
              statement: select sum((item ->> 'id')::int) as ids
                from jsonb_array_elements(%(orders)s) as item
              parameters: {{orders: "${{{{ steps.fetch.output.body }}}}"}}
        output: ${{{{ steps.sum.output.rows[0].ids }}}}
        """)
    )

    run = works.run(flow, allow=[HTTP, SQL])

    assert run.output == 3
    assert len(peer.requests) == 2


def test_tools_are_noted_and_posted(database: str, peer: Peer) -> None:
    """The stock handlers together: a program, a statement, a request."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table tools (run uuid, path text, primary key (run, path))")
        rights = {"PGFLOW_YAML_SQL_NOTES": database, "PGFLOW_YAML_HTTP_ALLOW": peer.address}
        cli = Cli(Shell(ROOT, database, {**ALLOW, **rights}))
        peer.answer(202)
        run = cli.run(
            *("tools", 'programs=["sh", "no-such-program"]', "database=notes"),
            f"report_to=http://{peer.address}/tools",
        )
        noted = connection.execute("select run::text, path from tools").fetchall()

    (path,) = run.result["run"]["output"]["paths"]
    assert Path(path).name == "sh"
    assert noted == [(run.result["run"]["id"], path)]
    assert json.loads(peer.requests[0]["body"]) == {"paths": [path]}
    assert peer.requests[0]["headers"]["idempotency-key"] == run.result["run"]["id"]
