"""Flows that run others, on the command line: found among the files or in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

PARENT = "flow: parent\nsteps:\n  d: {flow: doubling, with: [4, 5]}\n"
CHILD = """\
flow: doubling
input_schema: {type: array, items: {type: integer}}
steps:
  one: {handler: tasks.twice, map: input}
output: ${{ sum(steps.one.output) }}
"""


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A parent, its child, and their handlers."""
    shell = Shell(tmp_path, database)
    shell.write("parent.yaml", PARENT)
    shell.write("child.yaml", CHILD)
    shell.write("tasks.py", "def twice(item): return 2 * item\ndef same(x): return x\n")
    return shell


def test_validate_knows_the_files_alone(shell: Shell) -> None:
    """A child elsewhere is a warning; with its file there is none."""
    assert "warning[PF240]" in shell("validate", "parent.yaml").err
    assert shell("validate", "parent.yaml", "--strict", expect=1).err
    assert shell("validate", "parent.yaml", "child.yaml", "--strict").err == ""


def test_an_unknown_child_is_an_error_at_compile_and_at_run(shell: Shell) -> None:
    """Nothing is stored; once the child is there, the parent is as well."""
    for command in ("compile", "run"):
        refused = shell(command, "parent.yaml", expect=1)
        assert 'parent.yaml:3:13: error[PF240]: there is no flow "doubling"' in refused.err
    assert shell("flows", "--json").json == []

    shell("compile", "child.yaml")
    shell("compile", "parent.yaml")
    assert [flow["name"] for flow in shell("flows", "--json").json] == ["doubling", "parent"]


def test_compile_stores_children_before_those_that_run_them(shell: Shell) -> None:
    """Nobody finds a parent whose child is still to come; results stand in the order of files."""
    compiled = shell("compile", "parent.yaml", "child.yaml", "--json").json

    deployed = {flow["name"]: flow["deployed_at"] for flow in shell("flows", "--json").json}
    assert [each["name"] for each in compiled] == ["parent", "doubling"]
    assert deployed["doubling"] < deployed["parent"]


def test_run_takes_both_files_and_starts_the_first(shell: Shell) -> None:
    """The output of the child is that of the step."""
    assert shell("run", "parent.yaml", "child.yaml").out == '{"d": 18}\n'


def test_what_a_stored_child_would_refuse_is_told_before_the_start(shell: Shell) -> None:
    """By the schema in the database."""
    shell("compile", "child.yaml")
    shell.write("wrong.yaml", 'flow: wrong\nsteps:\n  d: {flow: doubling, with: ["a"]}\n')

    refused = shell("compile", "wrong.yaml", expect=1)

    assert "error[PF242]" in refused.err
    assert "[0] must be integer" in refused.err


def test_an_expression_without_a_value_is_marked_in_the_file_and_in_the_stored_text(
    shell: Shell,
) -> None:
    """`run` shows the frame, and so does `show` later on, from the source in the database."""
    text = (
        "flow: wrong\ninput: {n: {type: integer}, s: {default: a}}\nsteps:\n"
        '  a: {handler: tasks.same, with: {x: "n is ${{ input.s + input.n }}"}, retry: 1}\n'
        "  b: {handler: tasks.same, if: input.s > input.n, with: 1}\n"
    )
    shell.write("wrong.yaml", text)

    ran = shell("run", "wrong.yaml", "--input", "n=5", expect=1)
    shown = shell("show", "last")

    caret = "                               ^^^^^^^^^^^^^^^^^"
    assert "wrong.yaml:5:32" in ran.err
    assert caret in ran.err
    assert ":5:32" in shown.out
    assert caret in shown.out
