"""Handlers against the steps that call them: findings stand where the step is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.language import source
from pgflow_yaml.project import files
from pgflow_yaml.project.flow_set import FlowSet
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


BROKEN = """flow: f
steps:
  a: {handler: shop.sell, with: {wrong: 1}, retries: 2}
  b: {handler: shop.nothing, depends_on: [c]}
  c: {handler: os.system}
  d: [shop.nothing]
"""


def loaded(tmp_path: Path, text: str) -> FlowSet:
    """Write a text to a file and read it."""
    file = tmp_path / "f.yaml"
    file.write_text(text)
    return FlowSet.load([file])


def shown(flows: FlowSet) -> list[tuple[str, int]]:
    """The code and the line of each finding."""
    (file,) = flows.files
    return [(each.code, each.span.line if each.span else 0) for each in file.diagnostics]


def test_an_invalid_file_has_the_findings_of_its_handlers_too(app: App, tmp_path: Path) -> None:
    """They stand beside the others, in order; a path that is never a handler is told once."""
    app.write("shop.py", "def sell(order): return order\n")
    settings = read_settings(app.folder, flags={"app_dir": app.folder}, environ={})

    found = shown(loaded(tmp_path, BROKEN).check(handlers=settings))

    assert sorted(found, key=lambda each: each[1]) == found
    assert set(found) == {
        ("PF105", 3),
        ("PF302", 3),
        ("PF301", 4),
        ("PF206", 5),
        ("PF103", 6),
    }


def test_a_module_that_an_installed_one_hides_is_named(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker would import it, so the flow is refused; `allow` means the installed one."""
    mark = tmp_path / "imported"
    elsewhere = tmp_path / "installed"
    elsewhere.mkdir()
    (elsewhere / "shop.py").write_text(f"open({str(mark)!r}, 'w')\ndef go(): return 1\n")
    app.write("shop.py", "def go(): return 1\n")
    app.write("till/__init__.py", "")
    app.write("till/desk.py", "def go(): return 1\n")
    app.write("plain/desk.py", "def go(): return 1\n")
    (elsewhere / "plain").mkdir()
    (elsewhere / "plain" / "__init__.py").write_text("")
    (elsewhere / "till.py").write_text("")
    monkeypatch.syspath_prepend(str(elsewhere))
    calls = {"a": "shop.go", "b": "till.desk.go", "c": "plain.desk.go"}
    steps = ", ".join(f"{slug}: {{handler: {path}}}" for slug, path in calls.items())
    text = f"flow: f\nsteps: {{{steps}}}\n"
    flows = loaded(tmp_path, text)
    here = read_settings(app.folder, flags={"app_dir": app.folder}, environ={})
    allowing = read_settings(
        app.folder, flags={"app_dir": app.folder, "allow": ("shop", "till", "plain")}, environ={}
    )

    [file] = flows.with_hidden(here).files
    first, second, third = file.diagnostics
    assert (first.severity, first.code, file.definition) == ("error", "PF301", None)
    assert "hides shop.py of the app dir" in first.message
    assert (first.help or "").startswith("rename shop.py")
    assert "hides till/__init__.py of the app dir" in second.message
    assert "hides plain/ of the app dir" in third.message
    assert not flows.with_hidden(allowing).files[0].diagnostics
    assert [each.severity for each in flows.with_handlers(here).files[0].diagnostics] == [
        "error",
        "error",
        "error",
    ]
    assert not mark.exists()
