"""pytest plugin: each case of a `*.test.yaml` file is a test.

pytest loads the plugin wherever this package is installed, so it imports the package only when
there is such a file. `-p no:pgflow_yaml` disables it.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pgflow_yaml.errors import Diagnostic
    from pgflow_yaml.testing.databases import Databases
    from pgflow_yaml.testing.model import Case
    from pgflow_yaml.testing.running import Player, TestedFile

_OURS = re.compile(rb"^cases:", re.MULTILINE), re.compile(rb"^flow:", re.MULTILINE)
_OPEN = pytest.StashKey[ExitStack]()
_DATABASES = pytest.StashKey["Databases"]()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the test files of flows; other `*.test.yaml` files are ignored."""
    if not file_path.name.endswith(".test.yaml"):
        return None
    content = file_path.read_bytes()
    if not all(pattern.search(content) for pattern in _OURS):
        return None
    flow_tests: FlowTests = FlowTests.from_parent(parent, path=file_path)
    return flow_tests


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the database server, if it was started."""
    if (opened := config.stash.get(_OPEN, None)) is not None:
        opened.close()


class FlowTests(pytest.File):
    """Test file of a flow."""

    tested: TestedFile
    player: Player

    def collect(self) -> Iterable[pytest.Item]:
        """Yield the cases; mistakes in the file or its flow are a collection error."""
        from pgflow_yaml.testing.running import prepare  # noqa: PLC0415

        self.tested = prepare(self.path)
        if self.tested.flow_error is not None:
            error = self.tested.flow_error
            raise self.CollectError(_frames(error.file, error.source, error.diagnostics))
        if self.tested.diagnostics or self.tested.suite is None:
            frames = _frames(self.nodeid, self.tested.source, self.tested.diagnostics)
            raise self.CollectError(frames)
        for case in self.tested.suite.cases:
            flow_case: FlowCase = FlowCase.from_parent(self, name=case.name, case=case)
            yield flow_case

    def setup(self) -> None:
        """Create a database for the cases of this file; it is deleted after them."""
        from pgflow_yaml.errors import PgflowError  # noqa: PLC0415
        from pgflow_yaml.project.settings import read_settings  # noqa: PLC0415
        from pgflow_yaml.testing.running import Player  # noqa: PLC0415

        opened = ExitStack()
        self.addfinalizer(opened.close)
        try:
            settings = read_settings(self.config.rootpath, flags={}, environ=os.environ)
            player = Player(self.tested, _databases(self.config), settings)
            self.player = opened.enter_context(player)
        except PgflowError as error:
            pytest.fail(error.message, pytrace=False)


class FlowCase(pytest.Item):
    """One case of a test file."""

    def __init__(self, *, case: Case, **more: Any) -> None:
        super().__init__(**more)
        self.case = case

    def runtest(self) -> None:
        """Play the case; fail with a frame for each difference."""
        assert isinstance(self.parent, FlowTests)
        result = self.parent.player.play(self.case)
        if not result.passed:
            source = self.parent.tested.source
            pytest.fail(_frames(self.parent.nodeid, source, result.diagnostics), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the file, the line from 0, and the title of the case."""
        assert isinstance(self.parent, FlowTests)
        suite = self.parent.tested.suite
        line = suite.document.span(self.case.node).line if suite else 1
        return self.path, line - 1, f"case {self.name}"


def _databases(config: pytest.Config) -> Databases:
    """Return the databases; start or join the server on first use."""
    from pgflow_yaml.testing.databases import project_databases  # noqa: PLC0415

    if _DATABASES not in config.stash:
        opened = config.stash[_OPEN] = ExitStack()
        config.stash[_DATABASES] = opened.enter_context(project_databases(config.rootpath))
    return config.stash[_DATABASES]


def _frames(file: str, source: str, findings: Iterable[Diagnostic]) -> str:
    from pgflow_yaml.language.frames import render  # noqa: PLC0415

    return "\n\n".join(render(finding, file=file, source=source) for finding in findings)
