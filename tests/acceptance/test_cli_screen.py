"""What a person sees: the command on a real terminal of 60, 80 and 120 columns."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.text import cells
from tests.acceptance.screen import Screen
from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

HANDLERS = """
import pathlib, time

def items(input): return list(range(40))
def slow(item): time.sleep(0.02); return item
def loud(input): print("a \x1b[2J\x1b]0;title\x07line\x1b[31m from a handler"); return 1
def fail(input): raise ValueError("longer than sixty columns, which is all that a screen may have")
def wait(input):
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists(): time.sleep(0.02)
"""
FLOW = """flow: f
steps:
  items: {handler: tasks.items}
  a_step_with_a_name_that_is_longer_than_usual: {handler: tasks.loud, depends_on: [items]}
  slow: {handler: tasks.slow, map: steps.items.output, depends_on: [items]}
  fail: {handler: tasks.fail, depends_on: [slow], retry: {max_attempts: 2, base_delay: 50ms}}
  never: {handler: tasks.loud, depends_on: [fail]}
"""


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A flow with a map, a retry, a failure and a handler that prints."""
    shell = Shell(tmp_path, database)
    shell.write("tasks.py", HANDLERS)
    shell.write("f.yaml", FLOW)
    return shell


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_run_is_a_picture_that_fits(shell: Shell, width: int) -> None:
    """It is redrawn in place, never wider than the terminal; the last frame and the end stay."""
    with Screen(shell, "run", "f.yaml", width=width) as screen:
        assert screen.to_the_end() == 1

        drawn = screen.lines[
            : next(n for n, line in enumerate(screen.lines) if "failed after" in line)
        ]
        pictured = [line for line in drawn if re.match(r" [✓✗○⊘■↻⠁-⣿├╰│━─]", line)]
        assert pictured
        assert max(map(cells, pictured)) <= width
        assert screen.raw.count("\x1b[1A") > 5
        last = "\n".join(screen.lines[-30:])
        assert "✓ slow" in last
        assert "40 items" in last
        assert "✗ fail" in last
        assert "⊘ never" in last
        assert 'step "fail" failed, 2 of 2 attempts' in last
        assert "longer than sixty columns, which is all that a screen may have" in last


def test_what_a_handler_prints_stands_above_the_picture(shell: Shell) -> None:
    """The line is whole, not drawn over, and steers nothing (S-18)."""
    with Screen(shell, "run", "f.yaml", width=80) as screen:
        screen.to_the_end()

        printed = "a_step_with_a_name_that_is_longer_than_usual | a line from a handler"
        assert printed in (line.strip() for line in screen.lines)
        assert not re.search(r"\x1b\[2J|title|\x1b\[31m from", screen.raw)


def test_ctrl_c_in_watch_leaves_the_run_alone(shell: Shell) -> None:
    """Exit 130, the cursor is back, and the command to go on with is named."""
    shell.write("w.yaml", "flow: w\nsteps: {a: {handler: tasks.wait}}\n")
    run_id = shell("run", "--detach", "w.yaml").out.strip()
    with Screen(shell, "watch", run_id, width=80) as screen:
        eventually(lambda: screen.read() and "Ctrl-C stops following" in screen.raw)

        screen.process.send_signal(signal.SIGINT)

        assert screen.to_the_end() == 130
        assert f"run is kept: pgflow-yaml run --resume {run_id[:8]}" in screen.raw
        assert screen.raw.count("\x1b[?25l") == screen.raw.count("\x1b[?25h")
        assert "Traceback" not in screen.raw
        assert shell("runs", "--json").json[0]["status"] == "started"


def test_nothing_is_left_of_the_pictures_drawn_before_a_resize(shell: Shell) -> None:
    """A narrower terminal breaks the lines of a picture; all of their parts are erased."""
    shell.write("w.yaml", "flow: w\nsteps: {gate: {wait: {event: go}}, a: {handler: tasks.wait}}\n")
    run_id = shell("run", "--detach", "w.yaml").out.strip()
    with Screen(shell, "watch", run_id, width=120) as screen:
        for width in (120, 60, 100):
            screen.resize(width)
            bar = re.compile(rf" [━─]{{{width - 25},}}  0 %  0 of 2 steps")
            drawn = [""]
            while not (any(map(bar.fullmatch, drawn)) and "Ctrl-C" in drawn[-1]):
                assert screen.read()
                drawn = "\n".join(screen.terminal.rows).strip().split("\n")

            assert max(map(cells, drawn)) <= width
            assert drawn[0].startswith(f"w {run_id[:8]}")
            assert drawn[2].startswith(" ⏸ gate")
            assert drawn[-1] == " Ctrl-C stops following, not the run"
        screen.ctrl_c()
        screen.to_the_end()


def test_no_colour_is_a_picture_without_colour(shell: Shell) -> None:
    """NO_COLOR keeps the redrawing and leaves out the paint."""
    plain = Shell(shell.folder, shell.database, {"NO_COLOR": "1"})
    with Screen(plain, "run", "f.yaml", width=80) as screen:
        screen.to_the_end()

        assert "\x1b[1A" in screen.raw
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", screen.raw)


def test_a_dumb_terminal_gets_lines(shell: Shell) -> None:
    """TERM=dumb cannot move the cursor: lines as for a pipe."""
    with Screen(shell, "run", "f.yaml", width=80, term="dumb") as screen:
        screen.to_the_end()

        assert "\x1b" not in screen.raw
        assert "attempt 1 of 2 failed" in screen.raw


def test_lists_fit_the_terminal(shell: Shell) -> None:
    """Tables are cut at the flexible columns and say how long ago."""
    shell("run", "f.yaml", expect=1)
    with Screen(shell, "runs", width=60) as screen:
        screen.to_the_end()

        assert max(map(cells, screen.lines)) <= 60
        assert " ago" in screen.raw


def test_a_sentence_is_broken_between_words(shell: Shell) -> None:
    """The terminal itself would cut the command that the sentence names; a pipe gets one line."""
    with Screen(shell, "versions", "no_such_flow_in_here", width=60) as screen:
        screen.to_the_end()

        assert max(map(cells, screen.lines)) <= 60
        assert len([line for line in screen.lines if line]) > 1
        assert shell("versions", "no_such_flow_in_here", expect=2).err.count("\n") == 1


RELEASE = """flow: release
labels: {team: platform}
steps:
  items: {handler: tasks.items}
  a_gate_with_a_name_that_is_longer_than_usual: {wait: {event: approval, timeout: 2d}}
  each: {flow: region, map: [1, 2, 3], with: {}, max_parallel: 2, depends_on: [items]}
  broken: {handler: tasks.fail, depends_on: [items], retry: 1}
  mend: {handler: tasks.items, depends_on: {broken: failure}}
finally:
  note: {handler: tasks.loud}
"""
REGION = """flow: region
steps: {go_live: {wait: {event: go}}}
"""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_person_reads_what_to_type_and_types_it(shell: Shell, width: int) -> None:
    """The commands of a run and its children stand whole on the screen, and end the waits.

    One that is too long for a line goes on in the next, as a shell would take it.
    """
    shell.write("release.yaml", RELEASE)
    shell.write("region.yaml", REGION)
    with Screen(shell, "run", "release.yaml", "region.yaml", width=width) as screen:
        typed: set[str] = set()

        def all_typed() -> bool:
            screen.read()
            for command in re.findall(
                r"pgflow-yaml ((?:approve|send) \w{8} (?:\\\n\W*)?\w+)\s*$",
                "\n".join(line.rstrip() for line in screen.lines[:-1] if line.strip()),
                re.MULTILINE,
            ):
                if command not in typed:
                    typed.add(command)
                    shell(*re.findall(r"\w+", command))
            return len(typed) == 4

        eventually(all_typed, seconds=40)
        code = screen.to_the_end()

        picture = screen.lines[
            : next(n for n, line in enumerate(screen.lines) if "completed;" in line)
        ]
        drawn = [line for line in picture if re.match(r" [✓✗○⊘■↻⏸⠁-⣿├╰│━─]", line)]
        assert [line for line in drawn if cells(line) > width] == []
        assert code == 0
        assert "handled by mend" in "\n".join(screen.lines)
        assert " finally" in screen.lines
        assert 'the failure of "broken" was handled by mend' in "\n".join(screen.lines)
