"""Runs that start runs, carry labels and have last words: on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

HANDLERS = """
import pathlib, time

def double(n): return 2 * n
def fail(input): raise ValueError("no")
def note(**given): pathlib.Path("noted").write_text(repr(given))
def tidy(n): pathlib.Path(f"tidied{n}").touch()
def fail_or_stop(ctx, n):
    if n == 0: raise ValueError("no")
    while not ctx.cancelled: time.sleep(0.02)
def hold(input):
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists(): time.sleep(0.02)
"""
PARENT = """flow: parent
steps:
  each: {flow: child, map: [1, 2, 3], with: {n: "${{ item }}"}}
"""
CHILD = """flow: child
input: {n: {type: integer}}
steps:
  double: {handler: tasks.double, queue: fast, with: {n: "${{ input.n }}"}}
"""
RELEASE = """flow: release
steps:
  sign: {wait: {event: approval}}
  nested: {flow: ask}
"""
ASK = """flow: ask
steps: {answer: {wait: {event: answer}}}
"""
CAUGHT = """flow: caught
steps:
  pay: {handler: tasks.fail, retry: 1}
  undo:
    handler: tasks.note
    depends_on: {pay: failure}
    with: {why: "${{ steps.pay.error.type }}"}
"""
TIDY = """flow: tidy
steps: {note: {handler: tasks.note}}
finally: {hold: {handler: tasks.hold}}
"""
ONE = """flow: one
input_schema: {type: integer}
steps: {work: {handler: tasks.fail_or_stop, retry: 1}}
finally: {tidy: {handler: tasks.tidy}}
"""
LAST_WORDS = """flow: f
steps: {hold: {handler: tasks.hold}}
finally: {note: {handler: tasks.note, with: {status: "${{ run.status }}"}}}
"""


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder with a parent, its child, and a flow that has last words."""
    shell = Shell(tmp_path, database)
    shell.write("tasks.py", HANDLERS)
    shell.write("parent.yaml", PARENT)
    shell.write("child.yaml", CHILD)
    shell.write("f.yaml", LAST_WORDS)
    shell.write("release.yaml", RELEASE)
    shell.write("ask.yaml", ASK)
    shell.write("caught.yaml", CAUGHT)
    return shell


def test_run_takes_a_flow_with_its_children(shell: Shell) -> None:
    """The children are stored first; the worker inside serves their queues and their steps'."""
    done = shell("run", "parent.yaml", "child.yaml", "--json")

    notes = done.err.splitlines()
    compiled = [note.split()[1] for note in notes if note.startswith("compiled")]
    assert compiled == ["child", "parent"]
    result = done.events[-1]
    assert result["run"]["output"] == {"each": [{"double": 2 * n} for n in (1, 2, 3)]}
    (step,) = result["steps"]
    assert (step["action"], step["flow"], len(step["children"])) == ("flow", "child", 3)
    child = shell("show", step["children"][0], "--json").json["run"]
    assert child["parent"] == {"id": result["run"]["id"], "step": "each", "index": 0}


def test_run_of_a_stored_flow_serves_its_children(shell: Shell) -> None:
    """By name, as with files."""
    shell("compile", "child.yaml", "parent.yaml")

    assert shell("run", "parent", "--json").events[-1]["run"]["status"] == "completed"


def test_labels_find_runs_again(shell: Shell) -> None:
    """All that are asked for must fit; both commands that start a run take them."""
    shell("compile", "f.yaml")
    first = shell("start", "f", "--label", "team=ml", "--label", "tier=gold").out.strip()
    second = shell("run", "--detach", "f", "--label", "team=ml").out.strip()

    both = shell("runs", "--label", "team=ml", "--json").json
    one = shell("runs", "-l", "team=ml", "-l", "tier=gold", "--json").json

    assert "team=ml, tier=gold" in shell("show", first).out
    assert {run["id"] for run in both} == {first, second}
    assert [run["labels"] for run in one] == [{"team": "ml", "tier": "gold"}]
    assert "team=ml, tier=gold" in shell("runs").out


@pytest.mark.parametrize(
    ("given", "sentence"),
    [(["team"], "write name=value"), (["a=1", "--label", "a=2"], "given twice")],
)
def test_a_label_that_says_nothing_is_wrong_use(
    shell: Shell, given: list[str], sentence: str
) -> None:
    """Exit 2, one sentence, nothing started."""
    shell("compile", "f.yaml")

    assert sentence in shell("start", "f", "--label", *given, expect=2).err
    assert shell("runs", "--json").json == []


def test_a_cancelled_run_says_its_last_words_and_a_second_cancel_ends_it(shell: Shell) -> None:
    """The first stops it, and says so; the second does not wait for `finally`."""
    shell("compile", "f.yaml")
    run = shell("start", "f").out.strip()

    first = shell("cancel", run)
    listed = shell("runs").out
    filtered = shell("cancel", "--flow", "f", "--yes")
    second = shell("cancel", run)
    third = shell("cancel", run)

    assert "stopping; its clean-up goes on: cancel it again" in first.out
    assert "  stopping  " in listed
    assert "Cancelled" not in listed
    assert "left alone: 1 run that stops already" in filtered.err
    assert run not in filtered.out
    assert second.out.rstrip().endswith("  cancelled")
    assert third.out.rstrip().endswith("had ended already: cancelled")


def test_a_cancel_leaves_a_completed_run_its_clean_up(shell: Shell) -> None:
    """It says so, and `run` ends as if nobody had asked."""
    shell.write("tidy.yaml", TIDY)
    worker = shell.start("run", "tidy.yaml")
    eventually((shell.folder / "begun").exists)

    told = shell("cancel", "last")
    (shell.folder / "go").touch()
    worker.communicate(timeout=30)

    assert "had completed already; its clean-up goes on: cancel it again" in told.out
    assert worker.returncode == 0
    assert (shell.folder / "noted").read_text() == "{}"


def test_run_works_until_its_child_runs_have_cleaned_up(shell: Shell) -> None:
    """The first item fails and the others are stopped: all three tidy up before `run` ends."""
    shell.write("many.yaml", "flow: many\nsteps: {each: {flow: one, map: [0, 1, 2]}}\n")
    shell.write("one.yaml", ONE)

    shell("run", "many.yaml", "one.yaml", "--lease", "2s", expect=1)

    assert sorted(path.name for path in shell.folder.glob("tidied*")) == [
        "tidied0",
        "tidied1",
        "tidied2",
    ]


def test_finally_runs_after_a_cancel(shell: Shell) -> None:
    """Whoever follows the run sees it stop, and what it then does."""
    worker = shell.start("run", "f.yaml")
    eventually((shell.folder / "begun").exists)
    shell("cancel", "last")
    assert worker.stderr is not None
    told = next(line for line in worker.stderr if "stopping" in line)
    (shell.folder / "go").touch()

    worker.communicate(timeout=30)

    assert worker.returncode == 1
    assert (shell.folder / "noted").read_text() == "{'status': 'cancelled'}"
    assert "stopping: cancelled; then finally: note" in told


def test_who_waits_for_a_person_says_once_what_to_type(shell: Shell) -> None:
    """Each command stands there once, also those of runs below; typed as they are, they work."""
    running = shell.start("run", "release.yaml", "ask.yaml")
    said: list[str] = []

    def commands() -> list[str]:
        return [line.partition("terminal: ")[2] for line in said if "terminal: " in line]

    assert running.stderr is not None
    while len(commands()) < 2:
        said.append(running.stderr.readline())
    for each in commands():
        shell(*each.split()[1:])
    _, err = running.communicate(timeout=30)

    assert running.returncode == 0
    assert sorted(each.split()[1] for each in commands()) == ["approve", "send"]
    assert "terminal" not in err
    assert 'waits for event "approval"' in "".join(said)


def test_show_says_why_a_run_waits(shell: Shell) -> None:
    """As text and in JSON: a wait, a queue that no worker serves."""
    shell("compile", "release.yaml", "ask.yaml", "child.yaml")
    shell("start", "release")
    lines = shell("show", "last", "--why").out.splitlines()
    told = shell("show", "last", "--why", "--json").json["steps"]
    shell("start", "child", "--input", "n=1")

    assert lines[0].startswith(' sign    waits for event "approval": pgflow-yaml approve ')
    assert told[0]["why"]["kind"] == "event"
    assert told[0]["why"]["sentence"] in lines[0]
    assert 'no worker serves queue "fast"' in shell("show", "last", "--why").out


def test_a_run_that_completed_in_spite_of_a_failure_says_so(shell: Shell) -> None:
    """In the log, in the event of the end, and in the table of `show`."""
    done = shell("run", "caught.yaml")
    events = shell("run", "caught.yaml", "--json").events

    assert "undo may handle it" in done.err
    assert 'the failure of "pay" was handled by undo' in done.err
    assert events[-2]["handled"] == {"pay": ["undo"]}
    assert "ValueError: no; handled by undo" in shell("show", "last").out
    assert shell("runs").out.splitlines()[1].rstrip().endswith("1 failure handled")
