"""The library refuses what `compile` refuses: the same codes, positions and messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import pytest

from pgflow_yaml import Client, FlowSet, InvalidFlow, load, read_settings
from pgflow_yaml.project.flow_set import InvalidFlows
from tests.acceptance.shell import Shell
from tests.fixtures.roles import as_author

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgflow_yaml import Diagnostic

PARENT = "flow: parent\nsteps:\n  sub: {flow: child}\n"
CHILD = "flow: child\nsteps:\n  work: {handler: tasks.work}\n"


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder with a parent, its child and a handler."""
    shell = Shell(tmp_path, database)
    shell.write("parent.yaml", PARENT)
    shell.write("child.yaml", CHILD)
    shell.write("tasks.py", "def work(): return 1\n")
    return shell


@pytest.fixture
def client(database: str) -> Iterator[Client]:
    """A client of the database."""
    with Client(as_author(database)) as client:
        yield client


def printed(shell: Shell, *args: str) -> list[tuple[str, str, int | None]]:
    """Run a command that refuses files; return its findings."""
    error = json.loads(shell(*args, "--json", expect=1).out)["error"]
    return [(each["code"], each["message"], each["line"]) for each in error["diagnostics"]]


def raised(error: InvalidFlow) -> list[tuple[str, str, int | None]]:
    """Return the findings of an exception."""
    files = error.files if isinstance(error, InvalidFlows) else ()
    return [_finding(finding) for file in files for finding in file.diagnostics]


def _finding(finding: Diagnostic) -> tuple[str, str, int | None]:
    return finding.code, finding.message, finding.span.line if finding.span else None


def test_an_unknown_child_is_refused(shell: Shell, client: Client) -> None:
    """Nothing is stored, as with `compile`; a stored child is accepted."""
    path = shell.folder / "parent.yaml"

    with pytest.raises(InvalidFlow) as of_definition:
        client.deploy(load(path))
    with pytest.raises(InvalidFlow) as of_set:
        FlowSet.load([path]).deploy(client)

    findings = [("PF240", 'there is no flow "child"', 3)]
    assert raised(of_definition.value) == raised(of_set.value) == findings
    assert printed(shell, "compile", "parent.yaml") == findings
    assert client.list_flows() == []
    client.deploy(load(shell.folder / "child.yaml"))
    assert client.deploy(load(path)).status == "created"


def test_children_are_stored_before_their_parents(shell: Shell, client: Client) -> None:
    """The results are in the order of the files; the order of storing is the one of `compile`."""
    flows = FlowSet.load(shell.folder / name for name in ("parent.yaml", "child.yaml"))

    results = client.deploy(flows)

    deployed = {flow.name: flow.deployed_at for flow in client.list_flows()}
    assert [result.name for result in results] == ["parent", "child"]
    assert deployed["child"] < deployed["parent"]


def test_definitions_are_deployed_together(shell: Shell, client: Client) -> None:
    """A list of definitions is checked and ordered as a set of files is."""
    definitions = [load(shell.folder / name) for name in ("parent.yaml", "child.yaml")]

    assert [result.active for result in client.deploy(definitions)] == [True, True]


def test_a_second_file_of_a_flow_is_refused(shell: Shell, client: Client) -> None:
    """The finding names the first file."""
    shell.write("again.yaml", CHILD)
    names = ["child.yaml", "again.yaml"]
    flows = FlowSet.load(shell.folder / name for name in names)

    with pytest.raises(InvalidFlow) as refused:
        client.deploy(flows)

    ((code, message, line),) = raised(refused.value)
    ((_, printed_message, _),) = printed(shell, "compile", *names)
    assert (code, line) == ("PF303", 1)
    assert message.replace(f"{shell.folder}/", "") == printed_message


def test_a_definition_is_refused_twice(shell: Shell, client: Client) -> None:
    """Definitions have no file: the finding says what happened."""
    definition = load(shell.folder / "child.yaml")

    with pytest.raises(InvalidFlow) as refused:
        client.deploy([definition, definition])

    assert raised(refused.value) == [("PF303", 'flow "child" is deployed twice in one call', 1)]
    assert client.list_flows() == []


def test_a_path_is_not_a_flow(client: Client) -> None:
    """The error names the function that reads the file."""
    with pytest.raises(TypeError, match=r"'child.yaml' is a path; deploy load\(path\)"):
        client.deploy(cast("FlowSet", "child.yaml"))


@pytest.mark.usefixtures("app")  # it takes the imported modules away again
def test_missing_handlers_are_found_on_request(shell: Shell, client: Client) -> None:
    """With the settings of the project, `check` imports handlers, as `run` does."""
    path = shell.write("lost.yaml", "flow: lost\nsteps:\n  go: {handler: tasks.nothing}\n")
    settings = read_settings(shell.folder, flags={}, environ={})

    flows = FlowSet.load([path]).check(handlers=settings)
    with pytest.raises(InvalidFlow) as refused:
        client.deploy(flows)

    findings = raised(refused.value)
    assert [code for code, _, _ in findings] == ["PF301"]
    assert printed(shell, "run", "lost.yaml") == findings
    assert client.list_flows() == []
