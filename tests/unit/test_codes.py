"""Codes of findings: each has a file, and the examples in it hold against the program itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pgflow_yaml.language import codes
from pgflow_yaml.language.compiler import compile_flow
from pgflow_yaml.language.validation import check_flows
from pgflow_yaml.testing.running import prepare
from tests.unit.flows import check

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "pgflow_yaml" / "language" / "codes"
ALL = codes.codes()
# The limit of 2,000 steps is shown by a test: its file would be long and say nothing.
WITHOUT_A_FILE = {"PF209"}
OF_A_FLOW = [code for code in ALL if code < "PF300" and code not in WITHOUT_A_FILE]
# Later codes need a run; tests/acceptance/test_cli_language.py plays their examples.
OF_A_TEST_FILE = [code for code in ALL if "PF501" <= code <= "PF507"]
CHILD = "flow: deploy_region\ninput: {region: {type: string}}\nsteps: {a: {handler: app.a}}\n"
ORDER = "flow: order\nsteps:\n  charge: {handler: shop.charge}\n"


def whole(example: str) -> str:
    """Complete an example to a flow."""
    if not re.search(r"^steps:", example, re.MULTILINE):
        example += "steps: {a: {handler: app.a}}\n"
    return example if example.startswith("flow:") else f"flow: example\n{example}"


def findings(example: str, *, alone: bool) -> list[str]:
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
    """`explain` shows only examples that behave as it says."""
    entry = codes.explanation(code)

    assert set(findings(entry.bad, alone=code == "PF240")) == {code}
    assert findings(entry.good, alone=False) == []


@pytest.mark.parametrize("code", OF_A_TEST_FILE)
def test_the_examples_of_test_files_behave_as_shown(code: str, tmp_path: Path) -> None:
    """The wrong one has this finding, the right one can be played."""
    entry = codes.explanation(code)
    (tmp_path / "order.flow.yaml").write_text(ORDER)
    for name, example in (("bad", entry.bad), ("good", entry.good)):
        (tmp_path / f"{name}.test.yaml").write_text(example)

    bad, good = (prepare(tmp_path / f"{name}.test.yaml") for name in ("bad", "good"))

    assert {finding.code for finding in bad.diagnostics} == {code}
    assert good.diagnostics == []


@pytest.mark.parametrize("code", ALL)
def test_a_code_has_a_title_sentences_and_both_examples(code: str) -> None:
    """Every file has the whole layout, and its lines fit a page."""
    entry = codes.explanation(code)

    assert entry.text.endswith(".")
    assert not entry.title.endswith(".")
    assert entry.bad != entry.good
    lines = (FOLDER / f"{code}.md").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 150


def test_every_code_of_the_program_has_a_file_and_every_file_a_code() -> None:
    """A finding whose code `explain` does not know would be a dead end."""
    sources = (file.read_text() for file in (ROOT / "pgflow_yaml").rglob("*.py"))
    emitted = {code for text in sources for code in re.findall(r'"(PF\d{3})"', text)}

    # PF0xx of the store are states of SQL, not findings in a file.
    assert emitted - {f"PF00{number}" for number in range(10)} == set(ALL)


def test_every_code_of_a_flow_file_has_an_example_with_its_frame() -> None:
    """tests/examples/invalid shows every message with its frame."""
    frames = [path.read_text() for path in (ROOT / "tests/examples/invalid").rglob("*expected.txt")]
    shown = {code for text in frames for code in re.findall(r"\[(PF\d{3})\]", text)}

    assert shown == {code for code in ALL if code < "PF400"}


def test_every_static_code_of_a_test_file_has_an_example_with_its_frame() -> None:
    """tests/examples/tests/invalid shows every message with its frame."""
    folder = ROOT / "tests/examples/tests/invalid"
    frames = [path.read_text() for path in folder.glob("*expected.txt")]

    assert {code for text in frames for code in re.findall(r"\[(PF\d{3})\]", text)} == set(
        OF_A_TEST_FILE
    )


def test_validate_reads_no_file_of_a_code(tmp_path: Path) -> None:
    """The texts cost only those who ask for them."""
    (tmp_path / "a.yaml").write_text("flow: a\nsteps: {a: {handler: app.a, dependson: []}}\n")
    program = (
        "import sys\nfrom pgflow_yaml.cli import main\n"
        "sys.argv = ['pgflow-yaml', 'validate', 'a.yaml']\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 1, end.code\n"
        "assert 'pgflow_yaml.language.codes' not in sys.modules"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stderr
    assert "PF102" in done.stderr
