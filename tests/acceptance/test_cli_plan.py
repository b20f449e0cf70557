"""`plan`: what a run would do, and what deploying would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.database import embedded
from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

FLOW = """flow: order
input:
  plan: {enum: [free, premium]}
steps:
  reserve: {handler: nowhere.reserve}
  quote: {handler: nowhere.quote, if: input.plan == "premium"}
  charge: {handler: nowhere.charge, depends_on: [reserve, quote]}
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with a flow whose handlers do not exist; no database anywhere."""
    shell = Shell(tmp_path)
    shell.write("order.yaml", FLOW)
    return shell


def test_a_plan_in_words(shell: Shell) -> None:
    """Levels with what is certain, the longest chain, and that no database was asked."""
    result = shell("plan", "order.yaml", "--input", "plan=free")

    version = shell("validate", "order.yaml", "--json").json["files"][0]["version"]
    assert result.out == (
        f"order {version}: 3 steps on 2 levels\n\n"
        " 1  reserve\n"
        '    quote    skipped: its condition is false: input.plan == "premium"\n'
        " 2  charge\n\n"
        "longest chain: 2 steps\n"
        "    reserve → charge\n"
        "deploying: no database was asked what would change (this project has no database yet)\n"
    )
    assert not (shell.folder / ".pgflow").exists()


def test_the_database_of_a_project_is_asked_wherever_its_data_lie(shell: Shell) -> None:
    """Also where PostgreSQL cannot live with the project's path: once it is there, it is asked."""
    project = shell.folder / "my flows"
    project.mkdir()
    moved = Shell(project)
    moved.write("order.yaml", FLOW)
    try:
        moved("compile", "order.yaml")

        assert "deploying: nothing changes" in moved("plan", "order.yaml").out
        assert not (project / ".pgflow").exists()
    finally:
        embedded.discard(project)


def test_json_has_every_field(shell: Shell) -> None:
    """The names are API; without a database `changes` is null."""
    found = shell("plan", "order.yaml", "--input", "plan=free", "--json").json

    assert set(found) == {
        "flow",
        "version",
        "levels",
        "finally",
        "critical_path",
        "skipped",
        "limits",
        "schedules",
        "steps",
        "active",
        "changes",
    }
    assert found["levels"] == [["reserve", "quote"], ["charge"]]
    assert (found["critical_path"], found["skipped"]) == (["reserve", "charge"], ["quote"])
    assert set(found["steps"][0]) == {"slug", "outcome", "reason", "tasks"}
    assert (found["active"], found["changes"]) == (None, None)


def test_a_plan_shows_the_limits_of_the_file(tmp_path: Path) -> None:
    """Those of the runs, then those of each step, with their keys."""
    shell = Shell(tmp_path)
    shell.write(
        "ship.yaml",
        "flow: ship\n"
        "input: {customer: {type: string}}\n"
        "concurrency: {limit: 2, key: input.customer, when_full: skip}\n"
        "steps:\n"
        "  call: {handler: a.b, concurrency: 1, rate_limit: {limit: 100, per: 1m}}\n",
    )

    assert (
        "limits:\n"
        "    2 runs at once, for each input.customer; when full: skip\n"
        "    1 task of call at once\n"
        "    100 starts of call in 1m\n\n"
    ) in shell("plan", "ship.yaml").out
    limits = shell("plan", "ship.yaml", "--json").json["limits"]
    assert [limit["step"] for limit in limits] == [None, "call", "call"]
    assert limits[2] == {
        "step": "call",
        "limit": 100,
        "per_ms": 60_000,
        "key": None,
        "when_full": None,
    }


def test_a_wrong_input_is_a_frame(shell: Shell) -> None:
    """Exit 1, as `start` would say it."""
    refused = shell("plan", "order.yaml", "--input", "plan=gold", expect=1)

    assert "--input:1:6: error[" in refused.err
    assert refused.out == ""


@pytest.mark.parametrize("dsn", ["host=127.0.0.1 port=1", "host=/nowhere"])
def test_a_database_that_cannot_be_reached_is_no_error(shell: Shell, dsn: str) -> None:
    """The rest of the plan needs none; the sentence says why."""
    result = shell("plan", "order.yaml", "--dsn", dsn)

    assert "deploying: no database was asked what would change (" in result.out
    assert shell("plan", "order.yaml", "--dsn", dsn, "--json").json["changes"] is None


def test_a_database_without_our_tables_is_no_error(tmp_path: Path, empty_database: str) -> None:
    """It is not ours to change here."""
    shell = Shell(tmp_path, empty_database)
    shell.write("order.yaml", FLOW)

    assert "pgflow-yaml migrate" in shell("plan", "order.yaml").out


def test_what_deploying_would_change(tmp_path: Path, database: str) -> None:
    """A new flow, nothing, a change in words."""
    shell = Shell(tmp_path, database)
    shell.write("order.yaml", FLOW)
    assert "  + flow order: new, 3 steps" in shell("plan", "order.yaml").out

    shell("compile", "order.yaml")
    version = shell("flows", "--json").json[0]["version"]
    said = f"deploying: nothing changes, {version} is the active version\n"
    assert said in shell("plan", "order.yaml").out

    shell.write("order.yaml", FLOW.replace("nowhere.charge,", "nowhere.charge, retry: 5,"))
    changed = shell("plan", "order.yaml")
    assert changed.out.endswith(
        f"deploying: 1 change in the active version {version}\n"
        "  ~ step charge: retry.max_attempts 3 → 5\n"
    )
    (change,) = shell("plan", "order.yaml", "--json").json["changes"]
    assert change["path"] == "steps.charge.retry.max_attempts"


def test_further_files_are_the_children_of_the_first(shell: Shell) -> None:
    """The first is planned; what it gives to the others is checked, as `run` checks it."""
    shell.write(
        "child.yaml", "flow: child\ninput: {n: {type: integer}}\nsteps: {a: {handler: x.a}}\n"
    )
    shell.write("top.yaml", "flow: top\nsteps: {c: {flow: child, with: {n: 1}}}\n")
    shell.write("wrong.yaml", "flow: wrong\nsteps: {c: {flow: child, with: {m: 1}}}\n")

    planned = shell("plan", "top.yaml", "child.yaml")
    refused = shell("plan", "wrong.yaml", "child.yaml", expect=1)

    assert planned.out.startswith("top ")
    assert "wrong.yaml:2:" in refused.err
