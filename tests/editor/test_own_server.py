"""Our own language server on every example file, good and bad, as an editor would ask it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.project.flow_set import FlowSet
from pgflow_yaml.project.settings import read_settings
from tests.editor.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    file
    for folder in ("tests/examples/valid", "tests/examples/invalid", "workflows")
    for file in sorted((ROOT / folder).rglob("*.yaml"))
    if not file.name.endswith(".test.yaml")
]
QUESTIONS = ("hover", "completion", "definition", "prepareRename")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on an empty folder: the files are only in the editor."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text("[tool.pgflow-yaml]\n")
    server = Server(folder, [sys.executable, "-m", "pgflow_yaml", "lsp"])
    yield server
    server.close()


def read(file: Path) -> str:
    """The text as an editor has it: it shows what is not UTF-8 as a replacement character."""
    return file.read_bytes().decode("utf-8", errors="replace").removeprefix("\ufeff")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_findings_are_those_of_validate(server: Server, file: Path, tmp_path: Path) -> None:
    """Codes, lines and severities of the same text, as if it were saved."""
    text = read(file)
    saved = tmp_path / "a.flow.yaml"
    saved.write_bytes(text.encode())
    settings = read_settings(tmp_path, flags={}, environ={})
    (checked,) = FlowSet.load([saved]).check().with_hidden(settings).files

    found = server.show("a.flow.yaml", text)
    server.hide("a.flow.yaml")

    assert [
        (each.get("code"), each["range"]["start"]["line"] + 1, each["severity"]) for each in found
    ] == [
        (each.code, each.span.line if each.span else 1, 1 if each.severity == "error" else 2)
        for each in checked.diagnostics
    ]


@pytest.mark.timeout(300)
def test_every_question_about_every_file_is_answered(server: Server) -> None:
    """At the end of each line: an answer, or none; no error."""
    for number, file in enumerate(FILES):
        text = read(file)
        if len(text) > 20_000:
            continue
        name = f"q{number}.flow.yaml"
        server.show(name, text)
        for line, words in enumerate(text.splitlines()[:60]):
            for column in {len(words), len(words) // 2}:
                for question in QUESTIONS:
                    server.ask(f"textDocument/{question}", server.at(name, line, column))
        document = server.at(name, 0, 0)["textDocument"]
        server.ask("textDocument/documentSymbol", {"textDocument": document})
        server.hide(name)
