"""Wrong command lines: an exit code, one sentence with a way on, and JSON that parses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pgflow_yaml.cli.app import entries
from tests.acceptance.shell import Shell
from tests.acceptance.test_cli_streams import play

if TYPE_CHECKING:
    from pathlib import Path

HUGE = "x" * 20_000
ODD = "\N{SNOWMAN} \x1b[31m'\"\\ \N{RIGHT-TO-LEFT OVERRIDE}"
# Arguments of each command that takes any, with RUN, FLOW, FILE for those that a test replaces.
ARGUMENTS = {
    "activate": ["FLOW", "VERSION"],
    "approve": ["RUN", "greet"],
    "backfill": ["FLOW", "--from", "1d"],
    "compile": ["FILE"],
    "completion": ["SHELL"],
    "diff": ["FILE"],
    "explain": ["CODE"],
    "graph": ["FILE"],
    "logs": ["RUN"],
    "pause": ["FLOW"],
    "plan": ["FILE"],
    "reject": ["RUN", "greet"],
    "resume": ["FLOW"],
    "retry": ["RUN"],
    "run": ["FILE"],
    "schedules": ["FLOW"],
    "send": ["RUN", "paid"],
    "show": ["RUN"],
    "start": ["FLOW"],
    "test": ["FILE"],
    "validate": ["FILE"],
    "versions": ["FLOW"],
    "watch": ["RUN"],
}
# Lines that are wrong in a way of their own.
LINES = [
    ["runs", "--since", "soon"],
    ["runs", "--status", "done"],
    ["runs", "-n", "0"],
    ["runs", "-n", "many"],
    ["runs", "--flow", "helo"],
    ["runs", "--label", "team"],
    ["runs", "--label", "=x"],
    ["start", "hello", "--input", "name"],
    ["start", "hello", "--input", "nam=x"],
    ["start", "hello", "--input", "@nofile.json"],
    ["start", "hello", "--input", "{"],
    ["start", "hello", "--input", "[1]", "--input", "{}"],
    ["start", "hello", "--key", "last"],
    ["start", "hello", "--key", ""],
    ["start", "hello", "--key", HUGE],
    ["start", "hello", "--label", "\N{LATIN SMALL LETTER O WITH DIAERESIS}=x"],
    ["start", "hello", "--label", f"team={HUGE}"],
    ["worker", "--tasks-per-child", "5"],
    ["worker", "--child-env", "HOME"],
    ["worker", "--executor", "process", "--task-memory", "2"],
    ["worker", "--executor", "process", "--child-env", "A=b"],
    ["worker", "--executor", "dask"],
    ["worker", "--executor", "dask://a:1", "--resources", "gpus=1"],
    ["worker", "--resources", "gpus"],
    ["worker", "--results", "x"],
    ["show", "same"],
    ["show", HUGE],
    ["show", "last", "extra"],
    ["cancel", "last", "a\nb"],
    ["cancel"],
    ["cancel", ""],
    ["cancel", ODD],
    ["cancel", "--all"],
    ["cancel", "last", "--flow", "hello"],
    ["cancel", "--flow", "helo", "--yes"],
    ["cancel", "--flow", "", "--yes"],
    ["cancel", "--error", "", "--yes"],
    ["cancel", "--status", "completed", "--yes"],
    ["cancel", "--since", "soon", "--yes"],
    ["failed", "--version", ""],
    ["run", HUGE],
    ["show", "last", "--step", "gret"],
    ["worker", "--burst", "-c", "0"],
    ["worker", "--burst", "--lease", "soon"],
    ["run", "hello.flow.yaml", "--timeout", "later"],
    ["run", "hello.flow.yaml", "nofile.yaml"],
    ["run", "--resume", "last", "--key", "k"],
    ["test", "nofolder"],
    ["test", "-k", "and", "hello.test.yaml"],
    ["explain", "PF99"],
    ["graph", "hello.flow.yaml", "--format", "gif"],
    ["send", "last", "paid", "--data", "{"],
    ["migrate", "--nope"],
    ["comple", "hello.flow.yaml"],
    ["why", "last"],
    ["lsp", "hello.flow.yaml"],
    ["lsp", "--port", "2087"],
    ["mcp", "hello"],
    ["mcp", "--allow-action", "x"],
    ["ui", "hello"],
    ["ui", "--port", "many"],
    ["waiting", "hello"],
    ["waiting", "--limit", "0"],
    ["init", "hello.flow.yaml"],
    ["schema", "hello.flow.yaml"],
    ["schema", "--check", "nofile"],
    ["schema", "--check", "hello.flow.yaml"],
    ["schema", "--check", "--tests"],
    ["flows", "hello"],
    ["worker", "hello.flow.yaml"],
    ["queues", "hello"],
    ["workers", "hello"],
    ["doctor", "hello"],
    ["failed", "lst"],
    ["failed", "list", "hello"],
    ["failed", "show", "nothing"],
    ["failed", "show", ODD],
    ["failed", "retry", "--flow", "helo", "--yes"],
    ["failed", "drop", "--since", "soon"],
    ["prune", "--older-than", "soon"],
    ["prune", "--older-than", "-1d"],
    ["prune", "--flow", "helo", "--dry-run"],
    ["prune", "hello"],
    ["retry", "last", "--step", "gret"],
    ["retry", "last", "--from", "gret", "--yes"],
    ["retry", "last", "--on", "nothing"],
    ["retry", "last", "--input", "{"],
    ["logs", "last", "--step", "gret"],
    ["logs", "last", "--level", "loud"],
    ["logs", "last", "-n", "many"],
    ["start", "hello", "--like", "nothing"],
    ["runs", "--parent", "nothing"],
    ["runs", "--older", "soon"],
    ["worker", "--metrics", "nowhere"],
    ["worker", "--burst", "--app-dir", "nofolder"],
    ["schedules", "helo"],
    ["schedules", "hello", "--next", "0"],
    ["pause"],
    ["pause", "hello", "--queue", "hello"],
    ["pause", "hello"],
    ["pause", "--queue", "nothing"],
    ["pause", "--queue", "hello", "--schedule", "x"],
    ["resume"],
    ["resume", "hello", "--catchup", "some"],
    ["resume", "--queue", "hello", "--catchup", "all"],
    ["backfill", "hello"],
    ["backfill", "hello", "--from", "soon"],
    ["backfill", "hello", "--from", "1d", "--to", "2d"],
    ["backfill", "hello", "--from", "1d", "--at-once", "0"],
    ["start", "hello", "--at", "soon"],
    ["start", "hello", "--at", "2999-01-01"],
    ["start", "hello", "--key", "schedule:x"],
    ["migrate", "now"],
    ["test", "hello.flow.yaml"],
    ["graph", "hello"],
    ["graph", ""],
    ["validate", ""],
    ["run", "folder"],
    ["run", ""],
    ["show", "hello.flow.yaml"],
    ["versions", "hello.flow.yaml"],
    ["diff", "hello.flow.yaml", "hello.flow.yaml"],
    ["plan", "hello.flow.yaml", "--input", "nam=x"],
    ["\N{SNOWMAN}"],
    [HUGE],
    ["runs", "--dsn", "postgresql://ann:secret@nowhere/db"],
]


def wrong_lines() -> list[list[str]]:
    """Each command without arguments, with an unknown option, and with unknown things."""
    lines = [*LINES]
    for name in entries():
        lines.append([name, "--no-such-option"])
        arguments = ARGUMENTS.get(name)
        if arguments:
            lines += [[name, text, *arguments[1:]] for text in ("nothing", ODD)]
            if name not in {
                "explain",
                "logs",
                "schedules",
                "test",
                "watch",
            }:  # these have a meaning without
                lines.append([name])
    return lines


def test_the_lines_name_every_command() -> None:
    """A new command comes with lines of its own, or arguments that a test may replace."""
    assert entries().keys() == ARGUMENTS.keys() | {
        line[0] for line in LINES if line[0] in entries()
    }


def test_a_wrong_line_is_answered_with_a_sentence(tmp_path: Path, database: str) -> None:
    """Never a traceback or a bug of ours; with --json, the sentence is in an object on stdout."""
    shell = Shell(tmp_path, database)
    shell("init")
    (tmp_path / "folder").mkdir()
    shell.write("other.yaml", "flow: other\nsteps:\n  a: {handler: hello_handlers.greet}\n")
    shell("compile", "hello.flow.yaml", "other.yaml")
    for flow in ("other", "hello"):
        shell("start", flow, "--key", "same")
    lines = wrong_lines()

    results = play(shell, [(line, {}) for line in lines])
    some = range(0, len(lines), 3)
    in_json = play(shell, [([*lines[number], "--json"], {}) for number in some])

    problems: list[tuple[object, ...]] = []
    for line, (code, _, err) in zip(lines, results, strict=True):
        sentences = [text for text in err.splitlines() if text.startswith("pgflow-yaml: ")]
        if (
            code not in {1, 2}
            or (len(sentences) != 1 and " error" not in err)
            or any(word in err for word in ("Traceback", "secret", "\x1b[31m"))
            or len(err) > 2_200
        ):
            problems.append(([word[:20] for word in line], code, err[-300:]))
    for number, (code, out, _) in zip(some, in_json, strict=True):
        shown = json.loads(out) if out else {}
        if code != results[number][0] or not shown.keys() & {"error", "files"}:
            problems.append(([word[:20] for word in lines[number]], code, out[-300:]))
    assert not problems, "\n".join(map(str, problems))
    said = {tuple(line): err for line, (_, _, err) in zip(lines, results, strict=True)}
    assert "is the key of several runs: write an id" in said["show", "same"]
    assert 'did you mean "show RUN --why"?' in said["why", "last"]
    assert "write the RUN to cancel, or filters" in said["cancel",]
    assert "--flow is empty" in said["cancel", "--flow", "", "--yes"]
    assert "that is a flow, and `pgflow-yaml runs --flow hello` lists" in said["graph", "hello"]
    assert "`pgflow-yaml run hello.flow.yaml` starts" in said["show", "hello.flow.yaml"]
    assert '"folder" is a folder, not the name of a flow' in said["run", "folder"]
    assert "this is a flow, not a test of one" in said["test", "hello.flow.yaml"]
    assert "is not a schema file" in said["schema", "--check", "hello.flow.yaml"]
    assert 'there is no file ""' in said["validate", ""]
    assert 'did you mean "greet"?' in said["show", "last", "--step", "gret"]
    assert "`pgflow-yaml runs` lists them" in said["show", "nothing"]
