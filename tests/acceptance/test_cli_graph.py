"""`graph`: files and runs, four formats, files and browsers."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import psycopg
import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

FLOW = """flow: hello
steps:
  greet: {handler: hello_handlers.greet}
  left: {handler: hello_handlers.shout, depends_on: [greet]}
  right: {handler: hello_handlers.shout, depends_on: [greet]}
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with a flow; no database anywhere."""
    shell = Shell(tmp_path)
    shell.write("hello.yaml", FLOW)
    return shell


def test_a_file_is_drawn_as_text(shell: Shell) -> None:
    """Nothing else on stdout, nothing on stderr."""
    result = shell("graph", "hello.yaml")

    assert result.out == "greet ─┬─ left\n       ╰─ right\n"
    assert result.err == ""


@pytest.mark.parametrize(
    ("form", "start"),
    [("mermaid", "flowchart LR\n"), ("dot", 'digraph "hello" {\n'), ("svg", "<svg xmlns=")],
)
def test_the_other_formats(shell: Shell, form: str, start: str) -> None:
    """On stdout, and the same in a file whose name says the format."""
    suffix = {"mermaid": "mmd"}.get(form, form)
    out = shell("graph", "hello.yaml", "--format", form).out
    assert out.startswith(start)

    assert shell("graph", "hello.yaml", "-o", f"pictures/x.{suffix}").out == ""

    assert (shell.folder / "pictures" / f"x.{suffix}").read_text(encoding="utf-8") == out


def test_json_is_the_graph_itself(shell: Shell) -> None:
    """The names are API."""
    found = shell("graph", "hello.yaml", "--json").json

    assert set(found) == {"flow", "nodes", "edges"}
    assert found["nodes"][0] == {"slug": "greet", "finally": False, "notes": [], "status": None}
    assert found["edges"][0] == {"source": "greet", "target": "left", "kind": "success"}


def test_open_shows_an_svg(shell: Shell) -> None:
    """In what BROWSER names; where there is none, the sentence says where the picture is."""
    browser = shell.write("browser", '#!/bin/sh\nprintf %s "$1" > opened\n')
    browser.chmod(browser.stat().st_mode | stat.S_IEXEC)
    able = Shell(shell.folder, env={"BROWSER": f"{browser} %s"})

    able("graph", "hello.yaml", "--open", "-o", "x.svg")

    opened = (shell.folder / "opened").read_text()
    assert opened == (shell.folder / "x.svg").resolve().as_uri()
    ET.fromstring((shell.folder / "x.svg").read_text(encoding="utf-8"))
    unable = Shell(shell.folder, env={"BROWSER": "false"})
    assert "the picture is in" in unable("graph", "hello.yaml", "--open", expect=3).err


def test_wrong_use_is_one_sentence(shell: Shell) -> None:
    """Another format cannot be opened; a missing file is not looked for among the runs."""
    assert (
        "--open shows an SVG"
        in shell("graph", "hello.yaml", "--open", "--format", "dot", expect=2).err
    )
    assert 'did you mean "hello.yaml"?' in shell("graph", "helo.yaml", expect=2).err
    assert '"." is a folder; name the files in it' in shell("graph", ".", expect=2).err
    refused = shell("graph", "hello.yaml", "-o", ".", "--json", expect=3)
    assert refused.json["error"]["code"] == "environment"
    shell.write("bad.yaml", "flow: bad\nsteps: {a: {}}\n")
    assert "bad.yaml:2:" in shell("graph", "bad.yaml", expect=1).err


def test_a_large_flow_is_folded_and_says_so(shell: Shell) -> None:
    """On stderr; --json has every step."""
    steps = "".join(f"  s{number}: {{handler: m.f}}\n" for number in range(300))
    shell.write("large.yaml", f"flow: large\nsteps:\n{steps}")

    result = shell("graph", "large.yaml")

    assert result.out == "300 steps [s0 … s299]\n"
    assert result.err == "300 steps are drawn as 1; --json has all\n"
    assert len(shell("graph", "large.yaml", "--json").json["nodes"]) == 300


def test_a_run_is_drawn_with_its_statuses(tmp_path: Path, database: str) -> None:
    """By any way to name a run; an unknown one is answered."""
    shell = Shell(tmp_path, database)
    shell("init")
    shell("run", "hello.flow.yaml", "-q")

    assert shell("graph", "last").out == "✓ greet ─── ✓ shout\n"
    statuses = [node["status"] for node in shell("graph", "last", "--json").json["nodes"]]
    assert statuses == ["completed", "completed"]
    assert "lists them" in shell("graph", "nothing", expect=2).err


def test_a_run_of_pgflows_own_functions_is_drawn(tmp_path: Path, database: str) -> None:
    """It has no file and no definition, but steps that depend on each other."""
    shell = Shell(tmp_path, database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select pgflow.create_flow('legacy')")
        connection.execute("select pgflow.add_step('legacy', 'a')")
        connection.execute("select pgflow.add_step('legacy', 'b', array['a'])")
        connection.execute("select pgflow.start_flow('legacy', '{}'::jsonb)")

    assert shell("graph", "last", "--format", "dot").out.count("->") == 1
    assert shell("graph", "last").out == "⠹ a ─── ○ b\n"
