"""Every file in tests/examples is a test: a valid one passes, an invalid one shows its frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgflow_yaml.language import compiler, frames, validation

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "examples"
SCHEMA = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text())
VALID = sorted((EXAMPLES / "valid").glob("*.yaml"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.yaml"))


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_example_compiles_without_a_finding(path: Path) -> None:
    """A valid file has no error and no warning, and its order holds every step once."""
    checked = validation.check(path.read_bytes(), file=path.name, schema=SCHEMA)

    assert [finding.message for finding in checked.diagnostics] == []
    flow = checked.require()
    definition = compiler.compile_flow(flow, source=checked.source)
    assert sorted(definition.order) == sorted([*flow.steps, *flow.finally_])
    assert json.loads(compiler.canonical(definition.body)) == definition.body


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_example_shows_exactly_its_frames(path: Path) -> None:
    """All findings of a file come at once, in reading order, with carets where they belong."""
    checked = validation.check(path.read_bytes(), file=path.name, schema=SCHEMA)

    shown = "\n\n".join(
        frames.render(finding, file=path.name, source=checked.source)
        for finding in checked.diagnostics
    )
    assert checked.flow is None
    assert shown + "\n" == path.with_suffix(".expected.txt").read_text()


def test_the_file_of_the_spine_shows_at_least_eleven_mistakes() -> None:
    """The mistakes of a file with many are all shown in one go."""
    path = EXAMPLES / "invalid" / "spine.yaml"

    checked = validation.check(path.read_bytes(), file=path.name, schema=SCHEMA)

    assert len({(finding.code, finding.message) for finding in checked.errors}) >= 11
