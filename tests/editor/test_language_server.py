"""Our schemas in the YAML language server: what an editor completes, shows and underlines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.project import example
from tests.editor.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FLOW_SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas/workflow.schema.json").read_text())
TEST_SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas/test.schema.json").read_text())
FLOW_LINE, TEST_LINE = (example.MODELINE.format(place) for place in example.SCHEMAS.values())
STEP_KEYS = FLOW_SCHEMA["definitions"]["step"]["properties"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a folder that `init` wrote."""
    folder = tmp_path_factory.mktemp("project")
    example.write(folder, "hello", jetbrains=False)
    server = Server(folder)
    yield server
    server.close()


def labels(items: list[dict[str, Any]]) -> set[str]:
    """What is offered, by name."""
    return {item["label"] for item in items}


def offered(server: Server, text: str, *, name: str = "new.flow.yaml") -> list[dict[str, Any]]:
    """What is offered where ¦ stands in a text."""
    before = text.partition("¦")[0]
    server.open(name, text.replace("¦", ""))
    lines = before.split("\n")
    return server.complete(name, len(lines) - 1, len(lines[-1]))


KINDS = (".flow.yaml", ".test.yaml")


def test_what_init_writes_has_no_finding(server: Server) -> None:
    """Every flow and every test file of every template."""
    texts = {
        name: text
        for template in example.NEXT
        for name, text in example.files(template, jetbrains=False).items()
        if name.endswith(KINDS)
    }

    found = {name: server.open(name, text) for name, text in texts.items()}

    stems = {kind: {n.partition(".")[0] for n in texts if n.endswith(kind)} for kind in KINDS}
    stems_of_templates = {"hello", "etl", "release", "trip", "alert", "nightly"}
    assert stems == dict.fromkeys(KINDS, stems_of_templates)
    assert found == {name: [] for name in texts}


@pytest.mark.parametrize("folder", ["tests/examples/valid", "workflows"])
def test_valid_flows_have_no_finding(server: Server, folder: str) -> None:
    """What we accept is not underlined."""
    files = [file for file in (ROOT / folder).rglob("*.yaml") if ".test." not in file.name]
    wrong = {}
    for file in files:
        if found := server.open(f"{file.parent.name}.flow.yaml", FLOW_LINE + file.read_text()):
            wrong[str(file)] = [each["message"] for each in found]

    assert len(files) > 2
    assert wrong == {}


def test_valid_tests_have_no_finding(server: Server) -> None:
    """Neither are the tests of our workflows."""
    files = [*ROOT.glob("workflows/*/*.test.yaml"), *ROOT.glob("tests/examples/tests/valid/*.yaml")]
    wrong = {}
    for file in files:
        if found := server.open(f"{file.parent.name}.test.yaml", TEST_LINE + file.read_text()):
            wrong[str(file)] = [each["message"] for each in found]

    assert len(files) > 10
    assert wrong == {}


def test_mistakes_are_underlined_where_they_are(server: Server) -> None:
    """A key that is none, a duration that is none, a word that is not among the allowed ones."""
    text = (
        "flow: bad\nsteps:\n  a:\n    handler: app.work\n"
        "    dependson: [b]\n    timeout: soon\n    when_unmet: maybe\n"
    )

    found = server.open("bad.flow.yaml", FLOW_LINE + text)

    said = {
        (each["range"]["start"]["line"], each["range"]["start"]["character"]): each["message"]
        for each in found
    }
    assert set(said) == {(5, 4), (6, 13), (7, 16)}
    assert "dependson is not allowed" in said[5, 4]
    assert '"skip-cascade"' in said[7, 16]


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("  a: {handler: app.work, flow: b}", 3),
        ("  a: {with: {x: 1}}", 3),
        ("  a:\n    wait: {for: 1m, event: b}", 4),
    ],
)
def test_a_step_without_exactly_one_action_is_underlined(
    server: Server, step: str, line: int
) -> None:
    """Two actions, none, and a wait for two things."""
    found = server.open("bad.flow.yaml", f"{FLOW_LINE}flow: a\nsteps:\n{step}\n")

    assert [each["range"]["start"]["line"] for each in found] == [line]


def test_a_test_file_with_mistakes_is_underlined(server: Server) -> None:
    """By its own schema."""
    text = "flow: x\ncases:\n  one:\n    mock: {}\n    expect: {status: done}\n"

    found = server.open("bad.test.yaml", TEST_LINE + text)

    assert {each["range"]["start"]["line"] for each in found} == {4, 5}


def test_keys_of_a_step_are_offered_with_their_meaning(server: Server) -> None:
    """All that are not there yet, each with its description."""
    items = offered(server, f"{FLOW_LINE}flow: a\nsteps:\n  a:\n    handler: app.work\n    ¦\n")

    assert labels(items) == set(STEP_KEYS) - {"handler"}
    assert all(item.get("documentation") for item in items)


def test_keys_of_a_flow_are_offered(server: Server) -> None:
    """At the top of the file."""
    items = offered(server, f"{FLOW_LINE}flow: a\n¦\n")

    assert set(FLOW_SCHEMA["properties"]) - {"flow"} <= labels(items)


def test_words_of_a_key_are_offered(server: Server) -> None:
    """Where a key has a fixed set of words."""
    head = f"{FLOW_LINE}flow: a\nsteps:\n  a:\n    handler: app.work\n"

    assert labels(offered(server, f"{head}    when_unmet: ¦\n")) == {"skip", "skip-cascade", "fail"}
    assert {"exponential", "fixed"} <= labels(
        offered(server, f"{head}    retry:\n      backoff: ¦\n")
    )


def test_edges_are_offered_where_they_stand(server: Server) -> None:
    """Behind the name of a step, and not in a list of steps."""
    head = f"{FLOW_LINE}flow: a\nsteps:\n  a: {{handler: app.work}}\n  b:\n    depends_on: "

    assert labels(offered(server, f"{head}[¦]\n")) == set()
    assert labels(offered(server, f"{head}\n      a: ¦\n")) == {"success", "failure", "any"}


def test_the_types_of_a_field_are_offered(server: Server) -> None:
    """All of them."""
    head = f"{FLOW_LINE}flow: a\ninput:\n  n:\n    type: "
    types = set(FLOW_SCHEMA["definitions"]["typeName"]["enum"])

    found = {label.strip('"') for label in labels(offered(server, f"{head}¦\nsteps: {{}}\n"))}

    assert types <= found


def test_whole_steps_are_offered(server: Server) -> None:
    """Snippets for steps of each kind, with places to fill in."""
    items = offered(server, f"{FLOW_LINE}flow: a\nsteps:\n  ¦\n")

    texts = {item["label"]: str(item.get("insertText")) for item in items}
    assert "depends_on" in texts["step: after others"]
    assert "event: ${2:approval}" in texts["step: wait for an approval"]


@pytest.mark.parametrize(
    "key", ["handler", "depends_on", "map", "retry", "repeat", "if", "timeout", "start_delay"]
)
def test_hovering_over_a_key_shows_its_meaning(server: Server, key: str) -> None:
    """The description of the schema, as we wrote it."""
    values = {"depends_on": "[b]", "retry": "3", "repeat": "{until: output.ready}"}
    text = f"{FLOW_LINE}flow: a\nsteps:\n  a:\n    {key}: {values.get(key, '30s')}\n"
    schema = STEP_KEYS[key]
    if "description" not in schema:
        schema = FLOW_SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]

    server.open("hover.flow.yaml", text)

    shown = server.hover("hover.flow.yaml", 4, 5)
    assert " ".join(schema["description"].split())[:40] in " ".join(shown.split())


def test_keys_of_a_case_are_offered(server: Server) -> None:
    """In test files: input, mocks, expect; and how a run may end."""
    head = f"{TEST_LINE}flow: a\ncases:\n  one:\n"
    name = "new.test.yaml"

    assert {"input", "mocks", "expect"} <= labels(offered(server, f"{head}    ¦\n", name=name))
    statuses = labels(offered(server, f"{head}    expect:\n      status: ¦\n", name=name))
    assert statuses == set(TEST_SCHEMA["definitions"]["expect"]["properties"]["status"]["enum"])
