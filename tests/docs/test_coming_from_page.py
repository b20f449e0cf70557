"""`docs/coming-from.md`: our examples do what they say, theirs are well-formed, keys exist."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

from pgflow_yaml.validation.vocabulary import LATER
from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, Block, blocks

if TYPE_CHECKING:
    from pathlib import Path

FILE = ROOT / "docs" / "coming-from.md"
PAGE = FILE.read_text(encoding="utf-8")
OURS = {block.text.partition("flow: ")[2].split()[0]: block for block in blocks("yaml", [FILE])}
THEIRS = blocks("yml", [FILE]) + blocks("json", [FILE])
CASES = ROOT / "tests" / "docs" / "coming_from"


def test_every_flow_passes_its_cases(tmp_path: Path) -> None:
    """Played in virtual time: the retries, the catch, the waits and the rounds of each example."""
    for name, block in OURS.items():
        (tmp_path / f"{name}.flow.yaml").write_text(block.text, encoding="utf-8")
    for file in CASES.glob("*.test.yaml"):
        shutil.copy(file, tmp_path)

    files = Shell(tmp_path)("test", "--json").json["files"]

    assert {file["flow"] for file in files} == set(OURS)
    assert all(len(file["cases"]) > 1 for file in files)


@pytest.mark.parametrize("block", THEIRS, ids=[block.place for block in THEIRS])
def test_their_examples_are_well_formed(block: Block) -> None:
    """What is printed as somebody's file can be read as one."""
    load = json.loads if block.language == "json" else yaml.safe_load

    assert load(block.text)


def test_every_key_of_ours_exists() -> None:
    """What the right-hand columns give as our key is one that the schema knows, and not refused."""
    schema = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text(encoding="utf-8"))
    definitions = schema["definitions"]
    known = {*schema["properties"], *definitions["step"]["properties"], "x-"}
    rows = re.findall(r"^\| .+? \| (.+) \|$", PAGE, re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`([a-z][a-z_]+)(?:: |`)", row)}
    ours = {word for word in named if word in known or "_" in word}
    later = {key for keys in LATER.values() for key in keys}
    retry = set(definitions["retry"]["properties"])

    assert len(ours) > 20
    assert ours - known - retry == set()
    assert not ours & later
