"""`docs/how-to/coming-from.md`: their examples are well-formed, our keys exist."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from pgflow_yaml.language.validation.vocabulary import later_keys
from tests.docs.fenced import ROOT, Block, blocks

FILE = ROOT / "docs" / "how-to" / "coming-from.md"
PAGE = FILE.read_text(encoding="utf-8")
THEIRS = blocks("yml", [FILE]) + blocks("json", [FILE])


@pytest.mark.parametrize("block", THEIRS, ids=[block.position for block in THEIRS])
def test_their_examples_are_well_formed(block: Block) -> None:
    """The files of other engines parse as YAML or JSON."""
    load = json.loads if block.language == "json" else yaml.safe_load

    assert load(block.text)


def test_every_key_of_ours_exists() -> None:
    """The schema knows each of our keys in the right-hand columns, and none is reserved."""
    schema = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text(encoding="utf-8"))
    definitions = schema["definitions"]
    known = {*schema["properties"], *definitions["step"]["properties"], "x-"}
    rows = re.findall(r"^\| .+? \| (.+) \|$", PAGE, re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`([a-z][a-z_]+)(?:: |`)", row)}
    ours = {word for word in named if word in known or "_" in word}
    later = {*later_keys("flow"), *later_keys("step")}
    retry = set(definitions["retry"]["properties"])

    assert len(ours) > 20
    assert ours - known - retry == set()
    assert not ours & later
