"""Flows that are written in steps, among other files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml import FlowSet
from pgflow_yaml.language.graph.drawing import of_definition
from pgflow_yaml.language.validation import error_finding
from pgflow_yaml.language.validation.positions import step_positions

if TYPE_CHECKING:
    from pathlib import Path

OUTER = """flow: outer
steps:
  in:
    with: {n: 1}
    flow:
      input: {n: {type: string}, m: {type: integer}}
      steps:
        a: {handler: x.a, if: input.n / 0}
"""


def found(folder: Path, **texts: str) -> list[tuple[str, str, int | None, str]]:
    """The findings of files: file, code, line and message."""
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_text(text)
    return [
        (file.file.rpartition("/")[2], one.code, one.span.line if one.span else None, one.message)
        for file in FlowSet.load(paths).check(stored=lambda *_: None).files
        for one in file.diagnostics
    ]


def test_input_that_a_flow_in_a_step_refuses_is_found(tmp_path: Path) -> None:
    """As for a flow in another file, at the key that gives it."""
    assert found(tmp_path, outer=OUTER) == [
        (
            "outer.yaml",
            "PF242",
            4,
            'the flow in step "in" needs "m", which this step does not give',
        ),
        (
            "outer.yaml",
            "PF242",
            4,
            'the flow in step "in" refuses this: n must be string, not the number 1',
        ),
    ]


def test_the_name_of_a_flow_in_a_step_is_its_own(tmp_path: Path) -> None:
    """No other file may have it, and no step may run it by its name."""
    valid = "flow: outer\nsteps:\n  in: {flow: {steps: {a: {handler: x.a}}}}\n"
    same = "flow: outer_in\nsteps:\n  a: {handler: x.a}\n"
    user = "flow: user\nsteps:\n  a: {flow: outer_in}\n"

    ((file, code, line, message),) = found(tmp_path, outer=valid, same=same)
    assert (file, code, line) == ("same.yaml", "PF303", 1)
    assert message.startswith('flow "outer_in" is in ')
    ((file, code, line, message),) = found(tmp_path, outer=valid, user=user)
    assert (file, code, line) == ("user.yaml", "PF240", 3)
    assert message.startswith('there is no flow "outer_in"')


def test_a_flow_in_a_step_can_lead_back_to_its_file(tmp_path: Path) -> None:
    """Then it would never end."""
    text = "flow: outer\nsteps:\n  in: {flow: {steps: {a: {flow: outer}}}}\n"

    findings = found(tmp_path, outer=text)

    assert {(code, line) for _, code, line, _ in findings} == {("PF241", 3)}


def test_a_graph_shows_the_name_without_its_version(tmp_path: Path) -> None:
    """The version follows that of the flow around it, and says nothing more."""
    (tmp_path / "outer.yaml").write_text(OUTER)
    (definition,) = FlowSet.load([tmp_path / "outer.yaml"]).definitions

    (node,) = of_definition(definition).nodes

    assert node.notes == ("flow outer_in",)


def test_what_fails_in_a_run_has_its_place_in_the_file() -> None:
    """Steps and expressions of a flow in a step are found by its name."""
    assert step_positions("outer.yaml", OUTER, "outer_in") == {"a": "outer.yaml:8:9"}
    finding = error_finding(OUTER, flow="outer_in", step="a", message="if: division by zero")

    assert finding is not None
    assert finding.span is not None
    assert (finding.span.line, finding.span.column) == (8, 31)
