"""The mistakes in steps with stock handlers that are seen before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.project.flow_set import FlowSet
from pgflow_yaml.project.settings import read_settings
from tests.stock.conftest import GRANTED, STOCK

if TYPE_CHECKING:
    from pathlib import Path

    from pgflow_yaml.project.files import FlowFile


def checked(folder: Path, handler: str, with_: str, *allow: str) -> FlowFile:
    """Return a flow with one step, checked; with `allow` as `validate --import` does."""
    path = folder / "flow.yaml"
    path.write_text(
        f"flow: f\ninput: {{x: {{}}}}\n"
        f"steps:\n  s:\n    handler: {STOCK}.{handler}\n    with: {with_}\n"
    )
    settings = read_settings(folder, flags={"allow": allow}, environ={})
    flows = FlowSet.load([str(path)])
    [file] = (flows.check(handlers=settings) if allow else flows.with_hidden(settings)).files
    return file


@pytest.mark.parametrize("allow", [(), tuple(GRANTED)])
@pytest.mark.parametrize(
    ("handler", "with_", "findings"),
    [
        ("shell", "{command: [ls, -l]}", []),
        ("shell", '{command: [ls, "${{ input.x }}"]}', []),
        ("shell", '{command: "${{ input.x }}"}', []),
        ("shell", "{command: ls -l}", ["PF302 error command"]),
        ("shell", "{command: {ls: 1}}", ["PF302 error command"]),
        ("shell", "{comand: [ls]}", ["PF302 error needs", "PF302 error no parameter"]),
        ("shell", "{command: [ls], grants: 1}", ["PF302 error no parameter"]),
        ("shell", "{command: [ls], ctx: 1}", ["PF302 error no parameter"]),
        ("shell", '{command: [sh, -c, "ls $1", sh, "${{ input.x }}"]}', []),
        ("shell", '{command: [/bin/bash, -c, "ls ${{ input.x }}"]}', ["PF308 warning script"]),
        ("shell", '{command: [bash, -e, -c, "${{ input.x }}"]}', ["PF308 warning script"]),
        ("shell", '{command: [echo, -c, "${{ input.x }}"]}', []),
        ("shell", "{command: [ls], output: xml}", ["PF302 error output has another value"]),
        ("http", '{url: "http://h", method: post}', ["PF302 error method has another value"]),
        ("http", '{url: "http://h", method: "${{ input.x }}"}', []),
        ("sql", '{database: d, statement: "select 1"}', []),
        (
            "sql",
            '{database: d, statement: "select ${{ input.x }}"}',
            ["PF308 warning built from an expression"],
        ),
        ("sql", '{database: d, query: "select 1"}', ["PF302 error needs", "PF302 error query"]),
        ("http", '{url: "${{ input.x }}", json: {a: 1}}', []),
        ("http", "{uri: x}", ["PF302 error needs", "PF302 error uri"]),
        ("fail", "{message: x}", []),
    ],
)
def test_the_arguments_of_stock_handlers_are_checked(
    tmp_path: Path, handler: str, with_: str, findings: list[str], allow: tuple[str, ...]
) -> None:
    """Also without `--import`; code that is built from values is a warning."""
    file = checked(tmp_path, handler, with_, *allow)

    assert len(file.diagnostics) == len(findings)
    for found, expected in zip(file.diagnostics, findings, strict=True):
        code, severity, words = expected.split(" ", 2)
        assert (found.code, found.severity) == (code, severity)
        assert words in found.message
        assert found.span is not None
    assert (file.definition is None) == any("error" in finding for finding in findings)


def test_what_a_worker_must_be_allowed_is_known(tmp_path: Path) -> None:
    """Of the flow and of those in its steps; `fail` needs nothing."""
    path = tmp_path / "flow.yaml"
    path.write_text(
        f"""
flow: f
steps:
  a: {{handler: {STOCK}.sql, with: {{database: d, statement: select 1}}}}
  b: {{handler: {STOCK}.fail}}
  c:
    flow:
      steps:
        d: {{handler: {STOCK}.http, with: {{url: "http://example.org"}}}}
finally:
  e: {{handler: {STOCK}.sql, with: {{database: d, statement: select 1}}}}
"""
    )

    assert FlowSet.load([str(path)]).files[0].needed == [f"{STOCK}.http", f"{STOCK}.sql"]
