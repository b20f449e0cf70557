"""`docs/reference/language.md` against the schema, the functions and the program's lists."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pgflow_yaml.language.expressions.functions import FUNCTIONS
from pgflow_yaml.language.validation import check
from pgflow_yaml.language.vocabulary import Level, later_keys
from tests.docs.fenced import ROOT, Block, blocks

PAGE = (ROOT / "docs" / "reference" / "language.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text())
HEREDOC = re.compile(r"^cat > (\S+\.ya?ml) <<'(\w+)'\n(.*?)^\2$", re.MULTILINE | re.DOTALL)

GROWING = "first-flow.md"  # its flow is wrong at first, and mended: see test_tutorial
FLOWS = [
    block
    for block in blocks("yaml")
    if block.page.name != GROWING and "\ncases:\n" not in block.text
] + [
    Block(block.page, block.line, "yaml", match[3])
    for block in blocks("sh")
    for match in HEREDOC.finditer(block.text)
]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    text = re.split(r"^#+ ", PAGE.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]
    lines = [line.strip("|").split("|") for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    assert len(lines) > 2, heading
    return lines[2:]


def words(cells: list[str]) -> set[str]:
    """Return the text in code marks in some cells."""
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def first_words(heading: str) -> set[str]:
    """Return the text in code marks in the first column of a table."""
    return words([row[0] for row in rows(heading)])


def test_what_when_exhausted_does_not_soften_is_told_on_the_page_and_in_editors() -> None:
    """Errors of formulas, and a condition that must be met, fail the run whatever the key says."""
    hover = SCHEMA["definitions"]["step"]["properties"]["when_exhausted"]["description"]
    section = PAGE.partition("\n### Skipped steps\n")[2].partition("\n#")[0]

    for text in (hover, section):
        assert {"ExpressionError", "ConditionUnmet"} <= set(re.findall(r"[A-Z]\w+", text))


@pytest.mark.parametrize("block", FLOWS, ids=[block.position for block in FLOWS])
def test_every_flow_in_the_docs_is_valid(block: Block) -> None:
    """A YAML block is a complete flow without findings."""
    assert check(block.text, file=block.position, schema=SCHEMA).diagnostics == ()


def test_there_are_flows_in_the_docs() -> None:
    """The blocks are found: the README's hello among them."""
    assert {block.page.name for block in FLOWS} >= {"README.md", "language.md"}


@pytest.mark.parametrize("owner", ["flow", "step", "retry", "repeat", "wait"])
def test_every_key_is_explained(owner: str) -> None:
    """The page mentions each key of the schema; the generated page has types and defaults."""
    schema = SCHEMA if owner == "flow" else SCHEMA["definitions"][owner]
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    mentioned = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", prose))))

    assert set(schema["properties"]) <= mentioned


def test_the_table_of_kinds_has_every_step_key() -> None:
    """The table agrees with the checks for each key and kind of step."""
    table = rows("### Which keys on which step")

    keys = set(SCHEMA["definitions"]["step"]["properties"])

    assert first_words("### Which keys on which step") == keys - {"handler", "flow", "wait"}
    for cells in table:
        for kind, cell in zip(("flow", "wait"), cells[2:], strict=True):
            for key in words([cells[0]]):
                step = {"handler": "a.b", "flow": "b", "wait": {"for": "1s"}}
                text = f"flow: a\nsteps: {{s: {{{kind}: {json.dumps(step[kind])}, {key}: 1}}}}\n"
                diagnostics = check(text, file="a.yaml", schema=SCHEMA).diagnostics
                refused = "PF237" in {diagnostic.code for diagnostic in diagnostics}
                assert refused == (cell.strip() in ("no", "inside of `wait`")), (kind, key)


def test_every_input_keyword_is_named() -> None:
    """The table of keywords for input fields has the schema's."""
    named = words([row[1] for row in rows("### Input")])

    assert named == set(SCHEMA["definitions"]["fieldSchema"]["properties"])


def test_every_function_is_described() -> None:
    """The table of functions has each function as its own message writes it."""
    usages = {usage for f in FUNCTIONS.values() for usage in f.usage.split(" or ")}

    assert first_words("### Functions") == usages


def test_every_later_key_is_listed() -> None:
    """The table of keys that are refused for now has the program's."""
    both: tuple[Level, ...] = ("flow", "step")
    levels: dict[str, Level] = {level: level for level in both if later_keys(level)}

    for where, listed in rows("## Not yet"):
        named = words([listed.partition(", and")[0]])
        assert named == set(later_keys(levels.pop(where.strip()))), where
    assert levels == {}
