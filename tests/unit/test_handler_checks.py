"""Handlers against the steps that call them: findings stand where the step is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.language import source
from pgflow_yaml.project import files
from pgflow_yaml.project.handler_checks import handler_findings
from pgflow_yaml.project.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.apps import App

FLOW = """flow: f
steps:
  a: {handler: shop.sell}
  b:
    handler: shop.sell
    with: {wrong: 1}
  c: {handler: shop.nothing}
"""


Look = Callable[[str], list[tuple[str, int]]]


@pytest.fixture
def look(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """The code and the line of each finding in a flow, and ("read", 0) when it is read again."""
    app.write("shop.py", "def sell(order): return order\n")
    places = read_settings(app.folder, flags={"app_dir": app.folder}, environ={})
    read, parse = list[tuple[str, int]](), source.parse

    def noted(text: str) -> source.Document:
        read.append(("read", 0))
        return parse(text)

    def look(text: str) -> list[tuple[str, int]]:
        file = tmp_path / "f.yaml"
        file.write_text(text)
        body = files.load(file).body
        with monkeypatch.context() as patch:
            patch.setattr(source, "parse", noted)
            found = handler_findings(text, body, places)
        return read + [(each.code, each.span.line if each.span else 0) for each in found]

    return look


def test_a_finding_stands_at_the_handler_or_at_its_arguments(look: Look) -> None:
    """A missing handler is marked itself, a call that does not fit at `with`."""
    assert set(look(FLOW)) == {("read", 0), ("PF302", 6), ("PF301", 7)}


def test_places_are_looked_up_only_for_findings(look: Look) -> None:
    """The first picture of a run must not wait until a good file has been read a second time."""
    assert look("flow: f\nsteps:\n  a: {handler: shop.sell}\n") == []
