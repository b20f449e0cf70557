"""`schema` and `explain`: what an author looks up."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from pgflow_yaml.language.explanations import EXPLANATIONS
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

    assert out.startswith(f"PF203  {EXPLANATIONS['PF203'].title}\n")
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

    assert [line.split()[0] for line in lines] == sorted(EXPLANATIONS)
    assert [row["code"] for row in shell("explain", "--json").json] == sorted(EXPLANATIONS)


def test_every_code_in_the_program_is_explained() -> None:
    """A finding whose code `explain` does not know would be a dead end, and so would its ghost."""
    sources = [
        file.read_text(encoding="utf-8")
        for file in (ROOT / "pgflow_yaml").rglob("*.py")
        if "explanations" not in file.as_posix()
    ]
    used = {code for text in sources for code in re.findall(r'"(PF\d{3})"', text)}

    # PF0xx of the store are states of SQL, not findings in a file.
    used -= {f"PF00{number}" for number in range(1, 10)}
    assert used == set(EXPLANATIONS)


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
