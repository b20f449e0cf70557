"""`schema` and `explain`: what an author looks up."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pgflow_yaml.language.codes import codes, explanation
from tests.acceptance.shell import COMMAND, Shell

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schemas" / "workflow.schema.json"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty folder; no database anywhere."""
    return Shell(tmp_path)


def test_the_schema_is_the_shipped_file(shell: Shell) -> None:
    """On stdout as it stands, into a file with -o, and as one line with --json."""
    text = SCHEMA.read_text(encoding="utf-8")

    assert shell("schema").out == text
    assert shell("schema", "--json").json == json.loads(text)
    assert shell("schema", "--tests").out == SCHEMA.with_name("test.schema.json").read_text()
    assert shell("schema", "-o", "a/b.json").out == ""
    assert (shell.folder / "a" / "b.json").read_text(encoding="utf-8") == text


def test_the_schema_files_of_a_project_are_checked(shell: Shell) -> None:
    """Those that `init` wrote are current; a changed one, and a comment that finds none, are not.

    A schema of another tool, and an address, are left alone.
    """
    missing = shell("schema", "--check", expect=2)
    shell("init")
    shell.write("web/test.schema.json", '{"title": "another tool"}\n')
    shell.write("web/a.yaml", "# yaml-language-server: $schema=https://example.com/a.json\n")
    current = shell("schema", "--check")
    shell.write("schemas/test.schema.json", SCHEMA.with_name("test.schema.json").read_text() + " ")
    shell.write("sub/b.flow.yaml", "# yaml-language-server: $schema=./gone.json\nflow: b\n")

    stale = shell("schema", "--check", expect=1)
    found = shell("schema", "--check", "--json", expect=1).json

    assert "schema -o schemas/workflow.schema.json" in missing.err
    assert current.out == ""
    comment, schema = sorted(stale.out.splitlines(), reverse=True)
    assert schema.startswith("schemas/test.schema.json: not the schema of this release")
    assert schema.endswith("pgflow-yaml schema --tests -o schemas/test.schema.json")
    assert comment.startswith('sub/b.flow.yaml: its comment names "./gone.json"')
    problems = {each["file"]: each["problem"] for each in found["checked"]}
    assert problems.keys() == {
        *("schemas/workflow.schema.json", "schemas/test.schema.json", "sub/b.flow.yaml"),
        *("hello.flow.yaml", "hello.test.yaml"),
    }
    assert problems["hello.flow.yaml"] is None


def test_a_file_that_cannot_be_written_is_one_sentence(shell: Shell) -> None:
    """Exit 3, the system's word, the file's name."""
    shell.write("taken", "")

    refused = shell("schema", "-o", "taken/b.json", expect=3)

    assert refused.err.startswith("pgflow-yaml: the system refused: ")
    assert "taken" in refused.err


@pytest.mark.parametrize("written", ["PF203", "pf203", "203"])
def test_a_code_is_explained_however_it_is_written(shell: Shell, written: str) -> None:
    """The title, then what is wrong and what is right."""
    out = shell("explain", written).out

    assert out.startswith(f"PF203  {explanation('PF203').title}\n")
    assert out.index("wrong:\n") < out.index("right:\n")


def test_an_explanation_as_json(shell: Shell) -> None:
    """The names are API."""
    found = shell("explain", "PF203", "--json").json

    assert set(found) == {"code", "title", "text", "bad", "good"}


@pytest.mark.parametrize(
    ("code", "said"),
    [("PF2033", 'did you mean "PF203"?'), ("what", "`pgflow-yaml explain` lists them")],
)
def test_an_unknown_code_is_answered_with_a_near_one(shell: Shell, code: str, said: str) -> None:
    """Exit 2, one line."""
    assert (
        shell("explain", code, expect=2).err == f'pgflow-yaml: there is no code "{code}"; {said}\n'
    )


def test_all_codes_are_listed(shell: Shell) -> None:
    """Without a code: one line each, in order."""
    lines = shell("explain").out.splitlines()[1:]

    assert [line.split()[0] for line in lines] == codes()
    assert [row["code"] for row in shell("explain", "--json").json] == codes()


@pytest.mark.parametrize("code", ["PF301", "PF302"])
def test_the_examples_about_handlers_behave_as_shown(shell: Shell, code: str) -> None:
    """The wrong one has this finding when its handler is imported, the right one has none."""
    entry = explanation(code)
    shell.write("app/__init__.py", "def greet(name): ...\n")
    shell.write("app/tasks.py", "def a(value): ...\n")
    shell.write("bad.yaml", f"flow: bad\n{entry.bad}")
    shell.write("good.yaml", f"flow: good\n{entry.good}")

    refused = shell("validate", "--import", "--allow", "app", "bad.yaml", expect=1)

    assert f"error[{code}]" in refused.err
    shell("validate", "--import", "--allow", "app", "good.yaml")


def test_the_example_about_listeners_behaves_as_shown(shell: Shell) -> None:
    """A warning: `compile` sees what is in the database, and stores the flow all the same."""
    entry = explanation("PF304")
    shell.write("bad.yaml", entry.bad)
    shell.write("good.yaml", entry.good)
    shell.write("nightly.yaml", "flow: nightly\nsteps: {load: {handler: app.load}}\n")
    shell("compile", "nightly.yaml")

    alone = shell("validate", "bad.yaml")
    beside = shell("validate", "bad.yaml", "nightly.yaml")
    stored = shell("compile", "bad.yaml")
    good = shell("compile", "good.yaml")

    assert "warning" not in alone.err
    assert (
        '"nighly" in `after` matches no other flow in these files; did you mean "nightly"?'
        in beside.err
    )
    assert '"nighly" in `after` matches no other flow in this database; did you mean' in stored.err
    assert stored.out.startswith("compiled alert")
    assert "warning" not in good.err


@pytest.mark.parametrize("code", ["PF508", "PF509", "PF520", "PF521"])
def test_the_examples_about_played_cases_behave_as_shown(shell: Shell, code: str) -> None:
    """The wrong one has this finding when it is played, the right one passes."""
    entry = explanation(code)
    fields = "input: {order_id: {type: integer}}\n" if code == "PF508" else ""
    order = f"flow: order\n{fields}steps: {{charge: {{handler: shop.charge}}}}\n"
    shell.write("order.flow.yaml", order)
    shell.write("release.flow.yaml", "flow: release\nsteps: {approve: {wait: {event: approval}}}\n")
    shell.write("bad.test.yaml", entry.bad)
    shell.write("good.test.yaml", entry.good)

    played = shell("test", "bad.test.yaml", "good.test.yaml", "--json", expect=1).json

    bad, good = (file["cases"][0] for file in played["files"])
    assert {finding["code"] for finding in bad["diagnostics"]} >= {code}
    assert good["diagnostics"] == []


@pytest.mark.parametrize("words", [["schema"], ["schema", "--json"], ["explain"], ["--version"]])
def test_a_reader_that_has_gone_is_no_bad_result(words: list[str], tmp_path: Path) -> None:
    """As a shell reports a program that a broken pipe ended; nothing on stderr."""
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [COMMAND, *words], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, b"")
