"""The library without the command line: every verb, in a process that cannot import `cli`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json
import sys
import threading
from pathlib import Path


class WithoutCommandLine:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[:2] == ["pgflow_yaml", "cli"]:
            raise ImportError(f"{name} is deleted")


sys.meta_path.insert(0, WithoutCommandLine())

from pgflow_yaml import Client, FlowSet, check, load
from pgflow_yaml.language.codes import explanation
from pgflow_yaml.language.graph.drawing import of_definition
from pgflow_yaml.language.graph.formats import mermaid
from pgflow_yaml.language.plan import plan
from pgflow_yaml.project import example
from pgflow_yaml.project.database import project_dir
from pgflow_yaml.project.files import schema_text
from pgflow_yaml.project.settings import read_settings
from pgflow_yaml.runs.graph import of_run
from pgflow_yaml.runs.why import sentences
from pgflow_yaml.testing.databases import project_databases
from pgflow_yaml.testing.running import Player, prepare
from pgflow_yaml.text import moment

folder = Path.cwd()
# Write
written, _ = example.write(folder, "hello", jetbrains=False)
assert "hello.flow.yaml" in written
file, settings = folder / "hello.flow.yaml", read_settings(folder, flags={}, environ={})
assert check(file) == []
flows = FlowSet.load([file]).check(handlers=settings)
hello = load(file)
assert plan(hello).levels
assert mermaid(of_definition(hello))
assert "properties" in json.loads(schema_text())
assert explanation("PF203").title
tested = prepare(folder / "hello.test.yaml")
with project_databases(project_dir(folder)) as databases:
    with Player(tested, databases, settings) as player:
        assert player.play(tested.suite.cases[0]).passed

with Client.for_project(folder) as client:
    # Deploy
    assert client.migrate() == []
    assert client.compare_with_active(hello, "hello").changes
    assert client.preview(flows)[0].status == "created"
    (deployed,) = flows.deploy(client)
    assert not client.compare_with_active(hello, "hello").changes
    assert client.activate("hello", deployed.version).active
    assert [flow.name for flow in client.list_flows()] == ["hello"]
    assert client.list_versions("hello")[0].active
    # Run
    finished = client.run("hello", {"name": "Ada"}, app_dir=folder, timeout=30)
    assert finished.status == "completed"
    wait = folder / "wait.yaml"
    wait.write_text(
        "flow: gate\\nsteps:\\n  a: {wait: {event: paid}}\\n  b: {wait: {event: open}}\\n"
        "  c: {wait: {event: shut}, when_exhausted: skip}\\n"
    )
    client.deploy(load(wait))
    started = client.start_run("gate", key="k")
    worker = client.worker(settings, burst=True)
    assert worker.run() == 0
    assert client.find_run("k") == [started.run_id]
    snapshot = client.run_snapshot(started.run_id)
    why = sentences(client.why(started.run_id), moment(snapshot["now"]))
    assert set(why) == {"a", "b", "c"}
    assert of_run(snapshot, of_definition(load(wait))).nodes
    assert client.send("k", "paid", 1).steps == ("a",)
    assert client.approve(started.run_id, "b").applied
    assert client.reject(started.run_id, "c").status == "rejected"
    assert client.wait(started.run_id, timeout=30).status == "completed"
    other = client.start("gate")
    assert client.cancel(other.id).cancelled
    assert len(client.list_runs(flow="gate")) == 2
    print(json.dumps([run.as_json() for run in client.list_runs()]))
"""


def test_the_library_does_what_the_commands_do(tmp_path: Path) -> None:
    """Each verb works; the commands then read the same database and print the same JSON."""
    shell = Shell(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=shell.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert f"[{done.stdout.strip().strip('[]')}]" == done.stdout.strip()
    assert shell("runs", "--json").out.strip() == done.stdout.strip()
