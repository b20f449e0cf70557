"""Flow texts for the tests of the language, and the schema they are checked against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pgflow_yaml.language import validation

ROOT = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text())


def check(text: str | bytes) -> validation.Checked:
    """Check a text as `a.yaml`."""
    return validation.check(text, file="a.yaml", schema=SCHEMA)


def a_flow(steps: str, head: str = "") -> str:
    """Write a flow whose steps are given as a flow-style mapping without its braces."""
    return f"flow: a_flow\n{head}\nsteps: {{{steps}}}\n"


def codes(text: str | bytes) -> list[str]:
    """Return the codes of all findings in order."""
    return [finding.code for finding in check(text).diagnostics]
