"""Each command against a real database: what it prints, its `--json`, its exit code."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import click
import pytest

from pgflow_yaml.cli.app import app
from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

RUN_KEYS = {
    "id",
    "flow",
    "version",
    "status",
    "input",
    "output",
    "error",
    "key",
    "labels",
    "parent",
    "created_at",
    "started_at",
    "ended_at",
}
STEP_KEYS = {
    "slug",
    "status",
    "skip_reason",
    "waiting_for",
    "attempts",
    "crashes",
    "iteration",
    "started_at",
    "ended_at",
    "output",
    "error",
    "tasks",
    "children",
}


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A project made by `init`, with a database of its own in the environment."""
    shell = Shell(tmp_path, database)
    shell("init")
    return shell


@pytest.fixture
def deployed(shell: Shell) -> Shell:
    """The same, with its flow compiled."""
    shell("compile", "hello.flow.yaml")
    return shell


def version_of(shell: Shell, file: str = "hello.flow.yaml") -> str:
    """The version of a flow file."""
    return str(shell("validate", file, "--json").json["files"][0]["version"])


def test_init_writes_a_project_that_runs(tmp_path: Path, database: str) -> None:
    """The three commands that it names work as they stand; a second time it keeps everything."""
    shell = Shell(tmp_path, database)

    first = shell("init")
    for line in first.out.partition("next:\n")[2].splitlines():
        shell(*line.split()[1:])
    shell.write("hello_handlers.py", "mine")
    second = shell("init", "--json").json

    assert second["written"] == []
    assert (tmp_path / "hello_handlers.py").read_text() == "mine"


@pytest.mark.parametrize("kind", ["etl", "approval", "saga", "alert"])
def test_each_template_is_a_project_that_runs(kind: str, tmp_path: Path, database: str) -> None:
    """Valid with its handlers, its tests pass, and so do the commands that it names."""
    shell = Shell(tmp_path, database)

    said = shell("init", "--template", kind).out
    flows = [file.name for file in tmp_path.glob("*.flow.yaml")]
    shell("validate", "--import", "--strict", *flows)

    commands = said.partition("next:\n")[2].splitlines()
    assert commands[0].split() == ["pgflow-yaml", "test"]
    for line in commands:
        shell(*line.split()[1:])


def test_init_in_a_project_names_the_setting_that_it_could_not_write(tmp_path: Path) -> None:
    """A pyproject.toml of somebody else gets a hint; ours needs none, and twice is one line."""
    shell = Shell(tmp_path)
    shell.write("pyproject.toml", "[project]\n")
    assert "[tool.pgflow-yaml] allow" in shell("init").out

    shell.write("pyproject.toml", '[tool.pgflow-yaml]\nallow = ["shop"]\n')
    again = shell("init").out.splitlines()

    assert again[:3] == ["everything is there already: nothing was written", "", "next:"]


def test_init_makes_the_folder_and_says_how_to_get_there(tmp_path: Path) -> None:
    """A name with a space is quoted."""
    result = Shell(tmp_path)("init", "my flows", "--jetbrains")

    assert "cd 'my flows'" in result.out
    text = (tmp_path / "my flows" / "hello.flow.yaml").read_text()
    assert text.startswith("# $schema: ./schemas/workflow.schema.json\n")
    assert (tmp_path / "my flows" / "schemas" / "workflow.schema.json").is_file()


def test_compile_stores_a_version_once(shell: Shell) -> None:
    """The second time says unchanged, and changes nothing."""
    version = version_of(shell)

    assert shell("compile", "hello.flow.yaml").out == f"compiled hello {version}\n"
    assert shell("compile", "hello.flow.yaml").out == f"unchanged hello {version}\n"
    (result,) = shell("compile", "hello.flow.yaml", "--json").json
    assert (result["name"], result["version"], result["status"]) == ("hello", version, "unchanged")


def test_a_dry_run_only_says_what_would_happen(shell: Shell) -> None:
    """Nothing is stored."""
    version = version_of(shell)

    result = shell("compile", "--dry-run", "hello.flow.yaml")

    assert result.out == f"would be compiled hello {version}\n"
    assert shell("flows", "--json").json == []


def test_nothing_is_compiled_when_one_file_is_wrong(shell: Shell) -> None:
    """All files or none; the frames say why, also as JSON."""
    shell.write("bad.yaml", "flow: bad\nsteps: {a: {}}\n")

    assert "bad.yaml:2:" in shell("compile", "hello.flow.yaml", "bad.yaml", expect=1).err
    error = shell("compile", "hello.flow.yaml", "bad.yaml", "--json", expect=1).json["error"]

    assert error["code"] == "invalid_flow"
    assert {each["file"] for each in error["diagnostics"]} == {"bad.yaml"}
    assert shell("flows", "--json").json == []


def test_versions_and_activate_go_back_and_forth(deployed: Shell) -> None:
    """A changed file is a new version; the old one can be made active again by its beginning."""
    old = version_of(deployed)
    text = (deployed.folder / "hello.flow.yaml").read_text()
    deployed.write("hello.flow.yaml", text.replace("world", "moon"))
    new = version_of(deployed)
    waiting = deployed("compile", "--no-activate", "hello.flow.yaml").out
    assert waiting == f"compiled hello {new} (another version is active)\n"

    found = deployed("versions", "hello", "--json").json
    assert {each["version"]: each["active"] for each in found} == {old: True, new: False}

    assert deployed("compile", "hello.flow.yaml").out == f"activated hello {new}\n"
    assert deployed("activate", "hello", old[:5]).out == f"activated hello {old}\n"
    assert deployed("activate", "hello", old, "--json").json["status"] == "unchanged"
    assert deployed("flows", "--json").json[0]["version"] == old
    assert old in deployed("versions", "hello").out


def test_start_gives_the_id_of_a_run(deployed: Shell) -> None:
    """Alone on stdout; the same key again is the same run; a wrong input is a frame and exit 1."""
    run_id = deployed("start", "hello", "--input", "name=Ada", "--key", "k").out.strip()

    again = deployed("start", "hello", "--input", '{"name": "Ada"}', "--key", "k", "--json").json
    assert (again["run_id"], again["created"]) == (run_id, False)
    other = deployed("start", "hello", "--input", "name=Bob", "--key", "k", expect=1)
    assert "another input" in other.err
    refused = deployed("start", "hello", "--input", "nam=Ada", expect=1)
    assert "--input:1:1: error[" in refused.err
    assert 'did you mean "name"?' in refused.err


def test_a_refused_input_is_no_mistake_in_a_file(deployed: Shell) -> None:
    """The summary speaks of the input; in JSON it has a code of its own."""
    refused = deployed("start", "hello", "--input", "nam=Ada", expect=1)
    assert refused.err.endswith("\n1 error in the input\n")

    error = deployed("start", "hello", "--input", "nam=Ada", "--json", expect=1).json["error"]
    assert error["code"] == "invalid_input"
    assert error["diagnostics"][0]["file"] == "--input"


def test_runs_filters(deployed: Shell) -> None:
    """By flow, status and age; the newest first; a pipe gets whole lines with absolute times."""
    first = deployed("start", "hello").out.strip()
    second = deployed("start", "hello", "--key", "two").out.strip()
    deployed("cancel", first)

    def listed(*args: str) -> list[str]:
        return [each["id"] for each in deployed("runs", "--json", *args).json]

    assert listed() == [second, first]
    assert listed("-n", "1") == [second]
    assert listed("--status", "cancelled") == [first]
    assert listed("--flow", "hello", "--since", "1h") == [second, first]
    assert listed("--since", "1ms") == []
    header, line, _ = deployed("runs").out.splitlines()
    assert header.split()[:3] == ["RUN", "FLOW", "STATUS"]
    assert line.split()[:4] == [second[:8], "hello", "started", "0/2"]
    assert line.split()[4].endswith("Z")


@pytest.mark.parametrize(
    "args", [("runs", "--flow", "helo"), ("versions", "helo"), ("start", "helo"), ("run", "helo")]
)
def test_an_unknown_flow_is_answered_with_a_known_one(deployed: Shell, args: list[str]) -> None:
    """Exit 2, one line."""
    result = deployed(*args, expect=2)

    assert (
        result.err
        == 'pgflow-yaml: there is no flow "helo" in this database; did you mean "hello"?\n'
    )


def test_an_unknown_since_is_a_usage_error(shell: Shell) -> None:
    """The sentence says how to write it."""
    assert "write 30s, 5m, 2h or 7d" in shell("runs", "--since", "yesterday", expect=2).err


def test_a_key_of_runs_that_after_starts_is_a_usage_error(shell: Shell) -> None:
    """Such a run would keep an alert from being sent."""
    refused = shell("start", "hello", "--key", "after:x:0", expect=2)

    assert "--key begins with after:" in refused.err


def test_a_run_is_found_in_four_ways(deployed: Shell) -> None:
    """By its id, a beginning of it, its key, or as the last one."""
    deployed("start", "hello")
    run_id = deployed("start", "hello", "--key", "mine").out.strip()

    for text in (run_id, run_id[:8], "mine", "last"):
        assert deployed("show", text, "--json").json["run"]["id"] == run_id
    assert "`pgflow-yaml runs` lists them" in deployed("show", "nothing", expect=2).err
    assert deployed("show", "nothing", "--json", expect=2).json["error"]["code"] == "not_found"


def test_what_is_not_there_is_answered_with_where_to_look(deployed: Shell) -> None:
    """No run at all, and a version that the flow does not have: exit 2 with the next command."""
    for args in (["show", "last"], ["watch"]):
        assert (
            "a run was never started in this database; `pgflow-yaml run`"
            in deployed(*args, expect=2).err
        )

    wrong = deployed("activate", "hello", "zzz", expect=2).err
    assert wrong.endswith('has no version "zzz"; `pgflow-yaml versions hello` lists them\n')


def test_show_has_every_field(deployed: Shell) -> None:
    """The names are API: compared with the documented ones."""
    deployed("start", "hello")

    shown = deployed("show", "last", "--json").json

    assert shown["run"].keys() >= RUN_KEYS
    assert all(step.keys() >= STEP_KEYS for step in shown["steps"])
    assert shown["steps"][0]["tasks"].keys() == {
        "total",
        "queued",
        "started",
        "completed",
        "failed",
        "cancelled",
    }


def test_show_in_a_pipe_is_plain_and_stable(deployed: Shell) -> None:
    """No bars, no clock that goes on, times in UTC, nothing cut: twice the same text."""
    run_id = deployed("start", "hello", "--input", f"name={'x' * 300}").out.strip()

    shown = deployed("show", "last").out
    again = deployed("show", "last").out
    lines = shown.splitlines()

    assert again == shown
    assert f"   run           {run_id}" in lines
    assert not set("━─⠋⠙⠹○╰") & set(shown)
    assert re.search(r"^greet  started  +0/3 +\d{4}-\d\d-\d\dT[\d:.]+Z$", shown, re.MULTILINE)
    assert re.search(r"^shout  created  +0/3 +waits for greet$", shown, re.MULTILINE)
    assert "x" * 300 in shown


def test_show_says_why_nothing_happens(deployed: Shell) -> None:
    """Without a worker: queued, and by whose absence; behind it what waits for what."""
    deployed("start", "hello")

    lines = deployed("show", "last", "--why").out.splitlines()

    assert 'no worker serves queue "hello": pgflow-yaml worker --queue hello' in lines[0]
    assert lines[1] == " shout  waits for greet (queued)"


def test_show_one_step(deployed: Shell) -> None:
    """Only that step, also in JSON; an unknown one is answered with the nearest."""
    deployed("start", "hello")

    assert "hello_handlers.shout" in deployed("show", "last", "--step", "shout").out
    shown = deployed("show", "last", "--step", "shout", "--json").json
    assert [step["slug"] for step in shown["steps"]] == ["shout"]
    wrong = deployed("show", "last", "--step", "shuot", expect=2)
    assert 'did you mean "shout"?' in wrong.err


def test_cancel_by_filters(deployed: Shell) -> None:
    """The runs that match are listed and cancelled after a question; others are left alone."""
    ops, dev = (
        deployed("start", "hello", "--label", f"team={team}").out.strip() for team in ("ops", "dev")
    )

    def statuses() -> dict[str, str]:
        return {row["id"]: row["status"] for row in deployed("runs", "--json").json}

    asked = deployed("cancel", "--flow", "hello", expect=2)
    nothing = deployed("cancel", "--older", "2d", "--yes")
    both = deployed("cancel", ops, "--flow", "hello", expect=2)
    ended = deployed("cancel", "--status", "failed", "--yes", expect=2)
    unset = deployed("cancel", "--version", "", "--yes", expect=2)
    before = statuses()
    done = deployed("cancel", "-l", "team=ops", "--reason", "test", "--yes")

    assert "this would cancel 2 runs; --yes agrees" in asked.err
    assert [line.split()[0] for line in asked.out.splitlines()] == ["RUN", dev[:8], ops[:8]]
    assert len(nothing.out.splitlines()) <= 1
    assert "write either RUN or filters" in both.err
    assert "these runs have ended" in ended.err
    assert "--version is empty: it would match every run" in unset.err
    assert before == {ops: "started", dev: "started"}
    assert done.out.endswith(f"{ops}  cancelled\n")
    assert statuses() == {ops: "cancelled", dev: "started"}
    version = deployed("versions", "hello", "--json").json[0]["version"]
    (last,) = deployed("cancel", "--version", version[:6], "--yes", "--json").json
    assert (last["run_id"], last["status"]) == (dev, "cancelled")


def test_cancel_ends_runs_once(deployed: Shell) -> None:
    """All are found before any is cancelled; the second time says how it had ended."""
    first, second = (deployed("start", "hello").out.strip() for _ in range(2))

    deployed("cancel", first, "no-such-run", expect=2)
    assert deployed("show", first, "--json").json["run"]["status"] == "started"

    results = deployed("cancel", first, second, "--reason", "test", "--json").json
    assert [each["cancelled"] for each in results] == [True, True]
    assert "had ended already: cancelled" in deployed("cancel", first).out
    assert "nothing waits: the run was cancelled" in deployed("show", first, "--why").out
    assert "test" in deployed("show", first, "--json").json["run"]["error"]["message"]


def test_watch_ends_with_the_run(deployed: Shell) -> None:
    """A cancelled run is exit 1 with its end screen; the last JSON line is the result."""
    deployed("start", "hello")
    assert deployed("watch", "--timeout", "200ms", expect=124).err.count("run is kept") == 1
    deployed("cancel", "last", "--reason", "wrong order")

    plain = deployed("watch", "last", expect=1)
    events = deployed("watch", "last", "--json", expect=1).events

    assert plain.out == ""
    assert "Cancelled: wrong order" in plain.err
    assert events[-1]["event"] == "result"
    assert events[-1]["run"].keys() >= RUN_KEYS
    assert {event["event"] for event in events} == {"run", "step", "result"}


@pytest.mark.timeout(180)  # sixty processes
def test_every_example_in_the_help_works(shell: Shell) -> None:
    """In the order of a first session; each command has exactly one."""
    context = click.Context(app)
    examples: dict[str, str] = {}
    for name in app.list_commands(context):
        command: Any = app.get_command(context, name)
        examples[name] = command.example
        page = [line.strip() for line in shell(name, "--help").out.splitlines()]
        assert page.count(command.example) == 1
    order = ["init", "schema", "validate", "graph", "plan", "explain", "test", "lsp"]
    order += ["migrate", "compile", "diff", "flows", "versions", "activate", "run"]
    order += ["show", "watch", "runs", "start", "send", "cancel", "retry", "worker", "failed"]
    order += ["waiting", "approve", "reject"]
    order += ["queues", "workers", "doctor", "completion", "logs", "prune"]
    order += ["schedules", "pause", "resume", "backfill", "ui", "mcp"]
    assert sorted(order) == sorted(examples)

    shell.write("release.yaml", "flow: release\nsteps:\n  go_live: {wait: {event: go_live}}\n")
    for name in order:
        if name in ("approve", "reject"):
            shell("compile", "release.yaml")
            shell("start", "release")
        if name == "schedules":
            shell.write(
                "nightly.yaml",
                "flow: nightly\nschedule: {cron: '@daily'}\nsteps: {a: {wait: {for: 1s}}}\n",
            )
            shell("compile", "nightly.yaml")
        program, *args = shlex.split(examples[name])
        assert program == "pgflow-yaml"
        if name == "ui":  # it serves until a signal
            with shell.start(*args, "--port", "0") as serving:
                assert serving.stdout is not None
                assert "/login#t=" in serving.stdout.readline()
                serving.terminate()
            continue
        shell(*args, expect=int(name == "doctor"))  # the server of the tests is not durable
