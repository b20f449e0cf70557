"""Every folder in tests/examples/invalid is a test: what `validate --import` says of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgflow_yaml.language import frames
from pgflow_yaml.project.flow_set import FlowSet
from pgflow_yaml.project.settings import read_settings

FOLDERS = sorted(
    path.parent for path in (Path(__file__).parents[1] / "examples/invalid").glob("*/expected.txt")
)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_folder_of_files_shows_exactly_its_frames(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are checked together, as one command is given them."""
    monkeypatch.chdir(folder)
    settings = read_settings(folder, flags={"app_dir": folder}, environ={})
    names = sorted(path.name for path in folder.glob("*.yaml"))

    imports = any(folder.glob("*.py")) or folder.name == "stock"
    handlers = settings if imports else None
    flows = FlowSet.load(names).check(handlers=handlers)

    shown = "\n\n".join(
        frames.render(finding, file=file.file, source=file.source)
        for file in flows.files
        for finding in file.diagnostics
    )
    assert shown.replace(str(folder), ".") + "\n" == (folder / "expected.txt").read_text()
