"""The README's commands, typed in order into one shell, and the output that it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import venv
from pathlib import Path

import click
import pytest

from tests.docs.fenced import ROOT, blocks
from tests.docs.terminal import missing, type_into_shell

README = ROOT / "README.md"
SHELL = [block.text for block in blocks("sh", [README])]
EXAMPLE_URL = "postgresql://app@db.example.org/app"
NOT_RUN = "make test "  # this test is part of it


def block_with(words: str) -> str:
    """Return the only block of the README with these words."""
    (text,) = (text for text in SHELL if words in text)
    return text


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project with a `.venv` as after an installation, but without the index."""
    folder = tmp_path / "clone"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.rstrip("\0").split("\0"):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    install(folder)
    return folder


def install(folder: Path) -> None:
    """Make the environment: its dependencies are those of this one, the package is the copy."""
    environment = folder / ".venv"
    venv.create(environment, symlinks=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "all.pth").write_text(f"{folder}\n{Path(click.__file__).parents[1]}\n")
    program = environment / "bin" / "pgflow-yaml"
    program.write_text(f"#!{environment}/bin/python\nfrom pgflow_yaml.cli import main\nmain()\n")
    program.chmod(0o755)
    (environment / "local.stamp").touch()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_commands_work_in_order_in_one_shell(clone: Path, tmp_path: Path) -> None:
    """With an empty HOME, on the embedded PostgreSQL."""
    lines = "".join(SHELL).splitlines()
    script = "\n".join(line for line in lines if not line.startswith(NOT_RUN))
    (tmp_path / "home").mkdir()

    typed = type_into_shell(script, clone, home=tmp_path / "home")

    screen = "\n".join(typed.screen)
    assert typed.code == 0, screen
    assert typed.folder == clone
    shown = blocks("text", [README])[0]
    assert missing(shown.text, typed.screen) == [], screen
    assert re.search(r"bulk_shares .* completed", screen), screen


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_commands_work_on_a_database_of_your_own(
    clone: Path, empty_database: str, tmp_path: Path
) -> None:
    """Only the address of the example is replaced by that of a real database."""
    (own,) = (block.text for block in blocks("text", [README]) if EXAMPLE_URL in block.text)
    script = ". .venv/bin/activate\n" + own.replace(EXAMPLE_URL, f"'{empty_database}'")
    script += block_with("pgflow-yaml worker --burst")
    (tmp_path / "home").mkdir()

    typed = type_into_shell(script, clone, home=tmp_path / "home")

    screen = "\n".join(typed.screen)
    assert typed.code == 0, screen
    assert re.search(r"bulk_shares .* completed", screen), screen


def test_every_make_line_is_a_target() -> None:
    """The two commands come first; make accepts every target that the README names."""
    text = README.read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", "\n".join(SHELL), re.MULTILINE)

    assert targets[:2] == ["demo", "test"]
    for target in {*targets, *re.findall(r"`make (\w+)`", text)}:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_hello_flow_has_ten_lines() -> None:
    """The first file that a reader sees is short."""
    flow = block_with("flow: hello").partition("hello.yaml <<'END'\n")[2].partition("END")[0]

    assert len(flow.splitlines()) == 10
