"""`pgflow-yaml lsp` as an editor sees it: driven over stdin and stdout."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tests.editor.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSIONS = count(1)
HANDLERS = '''\
async def charge(order: int, *, card: str = "x", tx: object = None) -> dict:
    """Charge the card."""

class Post:
    def ship(self): ...
'''
CHILD = """\
flow: child
description: Sends one parcel.
input: {name: {type: string}}
steps: {send: {handler: again.charge}}
"""
TEST = """\
flow: main
cases:
  one:
    mocks: {charge: {output: 1}}
    expect: {status: completed, steps: {charge: completed}}
"""
MAIN = """\
flow: main
input: {order: {type: integer}}
steps:
  charge:
    handler: shop.charge
    with: {order: "🙂🙂 ${{ input.order }}"}
    timeout: 30s
  kid:
    flow: child
    depends_on: [charge]
    with: {name: "🙂 ${{ steps.charge.output }}: ${{ steps.charge.status }}"}
  last:
    handler: again.charge
    depends_on:
      charge: any
    if: steps.charge.status == "failed"
    with: {order: 1, card: charge}
finally:
  bye:
    handler: shop.charge
    if: '"charge" in run.failed'
    with: {order: 1}
"""
HEAD = """\
flow: new
input: {order: {type: integer}}
steps:
  a:
    handler: shop.charge
  b:
"""


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An editor on a project with two modules, a child flow and a test."""
    folder = tmp_path_factory.mktemp("project")
    files = {
        "pyproject.toml": "[tool.pgflow-yaml]\n",
        "shop.py": HANDLERS,
        "again.py": "from shop import charge\n",
        "child.flow.yaml": CHILD,
        "main.test.yaml": TEST,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    server = Server(folder, [sys.executable, "-m", "pgflow_yaml", "lsp", "--stdio"])
    try:
        assert server.show("main.flow.yaml", MAIN) == []
        yield server
    finally:
        server.close()


def place(text: str, marked: str) -> tuple[int, int]:
    """Line and column, in UTF-16 units, of ¦ in a text that is part of another one."""
    at = text.index(marked.replace("¦", "")) + marked.index("¦")
    line = text[:at].rpartition("\n")[2]
    return text[:at].count("\n"), len(line.encode("utf-16-le")) // 2


def marked(text: str, found: dict[str, Any]) -> str:
    """The part of one line of a text that a range marks."""
    (start, end) = found["start"], found["end"]
    assert start["line"] == end["line"]
    units: bytes = text.split("\n")[start["line"]].encode("utf-16-le")
    return units[2 * int(start["character"]) : 2 * int(end["character"])].decode("utf-16-le")


def test_findings_of_unsaved_text_are_those_of_validate(editor: Server) -> None:
    """Code, range behind wide characters, help; gone when the text is right again."""
    text = MAIN.replace("steps.charge.output", "steps.chargee.output")

    (found,) = editor.show("main.flow.yaml", text, version=2)

    assert (found["code"], found["severity"]) == ("PF202", 1)
    assert marked(text, found["range"]) == "steps.chargee"
    assert 'did you mean "charge"' in found["message"]
    assert editor.show("main.flow.yaml", MAIN, version=3) == []


def test_a_saved_child_is_compared_with_its_open_parent(editor: Server) -> None:
    """A child flow that takes no such input any more: the finding comes to the open parent."""
    path, uri = editor.folder / "child.flow.yaml", (editor.folder / "main.flow.yaml").as_uri()
    parent = editor.at("main.flow.yaml", 0, 0)["textDocument"]
    for text, codes in ((CHILD.replace("name:", "title:"), {"PF242"}), (CHILD, set())):
        path.write_text(text, encoding="utf-8")
        editor.found.pop(uri, None)
        editor.tell("textDocument/didSave", {"textDocument": parent})
        while uri not in editor.found:
            editor.hover("main.flow.yaml", 0, 0)
        assert {each["code"] for each in editor.found[uri]} == codes


def test_a_fix_is_offered_and_written(editor: Server) -> None:
    """The replacement of a finding is a quick fix."""
    text = HEAD + "    handlr: shop.charge\n"
    editor.show("fix.flow.yaml", text)
    line, column = place(text, "    ha¦ndlr")
    start = {"line": line, "character": column}
    document = editor.at("fix.flow.yaml", line, column)["textDocument"]

    (action,) = editor.ask(
        "textDocument/codeAction",
        {
            "textDocument": document,
            "range": {"start": start, "end": start},
            "context": {"diagnostics": []},
        },
    )

    ((edit,),) = action["edit"]["changes"].values()
    assert (marked(text, edit["range"]), edit["newText"]) == ("handlr", "handler")


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("  time¦out: 30s", ["Time limit of one attempt", "`60s`"]),
        ("handler: shop.ch¦arge", ["async def charge(order: int", "Charge the card."]),
        ("handler: again.ch¦arge", ["async def charge(order: int"]),
        ("depends_on: [ch¦arge]", ["step charge", "shop.charge"]),
        ("flow: chi¦ld", ["Sends one parcel.", "`name`: string"]),
        ("input.or¦der", ["integer"]),
    ],
)
def test_hovers_explain(editor: Server, at: str, words: list[str]) -> None:
    """Keys, handlers (one that another module imports, too), steps, flows, input fields."""
    shown = editor.hover("main.flow.yaml", *place(MAIN, at))

    assert [word for word in words if word not in shown] == []


@pytest.mark.parametrize(
    ("at", "file", "line", "word"),
    [
        ("handler: shop.ch¦arge", "shop.py", 0, "charge"),
        ("handler: again.ch¦arge", "shop.py", 0, "charge"),
        ("flow: chi¦ld", "child.flow.yaml", 0, "child"),
        ("steps.ch¦arge.status }", "main.flow.yaml", 3, "charge"),
        ("input.or¦der", "main.flow.yaml", 1, "order"),
    ],
)
def test_definitions_are_found(editor: Server, at: str, file: str, line: int, word: str) -> None:
    """The Python function, the file of a child flow, the step, the input field."""
    question = editor.at("main.flow.yaml", *place(MAIN, at))
    texts = {"shop.py": HANDLERS, "child.flow.yaml": CHILD, "main.flow.yaml": MAIN}

    found = editor.ask("textDocument/definition", question)

    assert found["uri"] == (editor.folder / file).as_uri()
    assert found["range"]["start"]["line"] == line
    assert marked(texts[file], found["range"]) == word


def test_rename_changes_every_place_of_a_step(editor: Server) -> None:
    """Its key, edges, expressions, its name in `run.failed`, its mocks; no text that is equal."""
    question = editor.at("main.flow.yaml", *place(MAIN, "[ch¦arge]"))

    changes = editor.ask("textDocument/rename", {**question, "newName": "pay"})["changes"]

    of = {uri.rpartition("/")[2]: edits for uri, edits in changes.items()}
    places = [place(MAIN, mark) for mark in (
        "  ¦charge:\n", "[¦charge]", "steps.¦charge.output", "steps.¦charge.status }",
        "      ¦charge: any", "steps.¦charge.status ==", '"¦charge" in',
    )]  # fmt: skip
    starts = [
        (e["range"]["start"]["line"], e["range"]["start"]["character"])
        for e in of["main.flow.yaml"]
    ]
    assert starts == places
    assert {marked(MAIN, edit["range"]) for edit in of["main.flow.yaml"]} == {"charge"}
    assert [marked(TEST, edit["range"]) for edit in of["main.test.yaml"]] == ["charge", "charge"]


@pytest.mark.parametrize("name", ["kid", "run", "two words"])
def test_rename_refuses_a_name(editor: Server, name: str) -> None:
    """One that another step has, a word of expressions, one that is no name."""
    question = editor.at("main.flow.yaml", *place(MAIN, "[ch¦arge]"))

    with pytest.raises(AssertionError, match=r"there is a step|cannot name a step"):
        editor.ask("textDocument/rename", {**question, "newName": name})


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("    ¦\n", {"handler", "depends_on", "timeout"}),
        ("    depends_on: [¦]\n", {"a"}),
        ("    depends_on:\n      - ¦\n", {"a"}),
        ("    depends_on: {a: ¦}\n", {"success", "failure", "any"}),
        ("    handler: ¦\n", {"shop", "again"}),
        ("    handler: shop.¦\n", {"shop.charge"}),
        ("    flow: ¦\n", {"child", "main"}),
        ("    flow: child\n    with: {¦}\n", {"name"}),
        ("    handler: again.charge\n    with: {¦}\n", {"order", "card"}),
        ("    if: steps.¦\n", {"a"}),
        ("    if: steps.a.¦\n", {"output", "status"}),
        ('    with: {x: "🙂 ${{ input.¦ }}"}\n', {"order"}),
        ('    with: {x: "🙂 ${{ input.¦', {"order"}),
        ("    when_unmet: ¦\n", {"skip", "skip-cascade", "fail"}),
    ],
)
def test_half_typed_files_are_completed(editor: Server, typed: str, offered: set[str]) -> None:
    """Keys, words, steps, inputs, flows and handlers; what is open need not be closed."""
    text = HEAD + typed.replace("¦", "")
    editor.show("typed.flow.yaml", text, version=next(VERSIONS))

    labels = {item["label"] for item in editor.complete("typed.flow.yaml", *place(text, typed))}

    assert offered <= labels
    assert not labels & {"b", "new", "tx"}  # the step itself, its flow, what the worker gives


def test_the_outline_has_steps_and_inputs(editor: Server) -> None:
    """In the order of the file."""
    document = editor.at("main.flow.yaml", 0, 0)["textDocument"]

    found = editor.ask("textDocument/documentSymbol", {"textDocument": document})

    assert [each["name"] for each in found] == ["order", "charge", "kid", "last", "bye"]


def test_no_prefix_of_a_file_breaks_the_server(editor: Server) -> None:
    """A file cut at each tenth character: every question has an answer, none is an error."""
    questions = ("hover", "completion", "definition", "prepareRename")
    for version, end in enumerate(range(0, len(MAIN), 10), 2):
        text = MAIN[:end].replace("flow: main", "flow: cut")
        if version == 2:
            editor.show("cut.flow.yaml", text)
        change = {
            "uri": editor.at("cut.flow.yaml", 0, 0)["textDocument"]["uri"],
            "version": version,
        }
        editor.tell(
            "textDocument/didChange", {"textDocument": change, "contentChanges": [{"text": text}]}
        )
        line, column = text.count("\n"), len(text.rpartition("\n")[2].encode("utf-16-le")) // 2
        for question in questions:
            editor.ask(f"textDocument/{question}", editor.at("cut.flow.yaml", line, column))


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    """No traceback, and the exit code of what is missing around a command."""
    blind = "import sys; sys.modules['pygls'] = None; from pgflow_yaml.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", blind, "lsp"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 3
    assert "pip install 'pgflow-yaml[lsp]'" in done.stderr
    assert "Traceback" not in done.stderr
