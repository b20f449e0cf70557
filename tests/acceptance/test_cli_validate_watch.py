"""`validate --watch`: again at each save, until Ctrl-C."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.worker_process import StartCli

GOOD = "flow: good\nsteps:\n  a: {handler: tasks.work}\n"


def test_each_save_is_checked_until_ctrl_c(tmp_path: Path, start_cli: StartCli) -> None:
    """A mistake comes and goes; files written anew, as editors do, count; then exit 130."""
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    watching = start_cli("validate", "--watch", "good.yaml", cwd=tmp_path)
    watching.wait_for("good.yaml: good, 1 step, valid")
    watching.wait_for("waiting for a change")

    (tmp_path / "new").write_text(GOOD.replace("handler", "handlr"))
    (tmp_path / "new").replace(file)
    watching.wait_for("good.yaml:3:7: error[")
    eventually(lambda: watching.stderr.count("waiting for a change") == 2)

    file.write_text(GOOD.replace("a:", "longer:"))
    eventually(lambda: watching.stdout.count("valid") == 2)

    watching.send(signal.SIGINT)
    assert watching.wait() == 130
    assert "\x1b[2J" not in watching.stdout
    assert "Traceback" not in watching.stderr


def test_a_file_that_is_gone_for_a_moment_is_waited_for(
    tmp_path: Path, start_cli: StartCli
) -> None:
    """The sentence says so, and the next save is checked."""
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    watching = start_cli("validate", "--watch", "good.yaml", cwd=tmp_path)
    watching.wait_for("waiting for a change")

    file.unlink()
    watching.wait_for('there is no file "good.yaml"')
    file.write_text(GOOD)

    eventually(lambda: watching.stdout.count("valid") == 2)


def test_a_handler_that_is_saved_is_imported_anew(tmp_path: Path, start_cli: StartCli) -> None:
    """With --import, modules beside the flow are watched, too."""
    (tmp_path / "good.yaml").write_text(GOOD)
    tasks = tmp_path / "tasks.py"
    tasks.write_text("def other(): ...\n")
    watching = start_cli("validate", "--watch", "--import", "good.yaml", cwd=tmp_path)
    watching.wait_for("error[PF301]")
    watching.wait_for("waiting for a change")

    tasks.write_text("def work(): ...\n")

    watching.wait_for("good.yaml: good, 1 step, valid")


def test_a_wrong_name_is_told_at_once(tmp_path: Path) -> None:
    """Nobody waits for a file that was mistyped."""
    shell = Shell(tmp_path)
    shell.write("good.yaml", GOOD)

    assert 'did you mean "good.yaml"?' in shell("validate", "--watch", "god.yaml", expect=2).err
