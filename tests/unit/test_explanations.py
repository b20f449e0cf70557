"""The texts of `explain`: their examples say what the program says, and each code has its file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgflow_yaml.language.compiler import compile_flow
from pgflow_yaml.language.explanations import EXPLANATIONS
from pgflow_yaml.language.validation import check_flows
from tests.unit.flows import check

ROOT = Path(__file__).parents[2]
# The limit of 2,000 steps is shown by a test: its file would be long and say nothing.
WITHOUT_A_FILE = {"PF209"}
OF_A_FLOW = [code for code in EXPLANATIONS if code < "PF300" and code not in WITHOUT_A_FILE]
CHILD = "flow: deploy_region\ninput: {region: {type: string}}\nsteps: {a: {handler: app.a}}\n"


def whole(example: str) -> str:
    """Make a flow of an example: what is indented stands under `steps:`."""
    if example.startswith(" "):
        example = f"steps:\n{example}"
    if not re.search(r"^steps:", example, re.MULTILINE):
        example += "steps: {a: {handler: app.a}}\n"
    return example if example.startswith("flow:") else f"flow: example\n{example}"


def found(example: str, *, alone: bool) -> list[str]:
    """The codes of an example, also of its children when it is a good flow by itself."""
    checked = check(whole(example))
    if checked.flow is None:
        return [finding.code for finding in checked.diagnostics]
    flows = [compile_flow(checked.flow, source=checked.source)]
    if not alone:
        child = check(CHILD)
        flows.append(compile_flow(child.require(), source=child.source))
    between = check_flows(flows)[0]
    return [finding.code for finding in (*checked.diagnostics, *between)]


@pytest.mark.parametrize("code", OF_A_FLOW)
def test_the_wrong_example_has_this_finding_and_the_right_one_none(code: str) -> None:
    """What `explain` shows is held against the program itself."""
    entry = EXPLANATIONS[code]

    assert set(found(entry.bad, alone=code == "PF240")) == {code}
    assert found(entry.good, alone=False) == []


@pytest.mark.parametrize("code", [code for code in EXPLANATIONS if code < "PF500"])
def test_an_explanation_has_sentences_and_both_examples(code: str) -> None:
    """Not a title alone."""
    entry = EXPLANATIONS[code]

    assert entry.text.endswith(".")
    assert entry.bad.endswith("\n")
    assert entry.good.endswith("\n")
    assert not entry.title.endswith(".")


def test_every_code_of_a_file_has_an_example_with_its_frame() -> None:
    """tests/examples/invalid shows each message as people see it."""
    frames = [path.read_text() for path in (ROOT / "tests/examples/invalid").rglob("*expected.txt")]
    shown = {code for text in frames for code in re.findall(r"\[(PF\d{3})\]", text)}

    assert shown == {code for code in EXPLANATIONS if code < "PF400"} - WITHOUT_A_FILE
