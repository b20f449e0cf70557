"""The files around an open one: its settings, its findings, and the flows that it can name."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Diagnostic, WrongSetting
from pgflow_yaml.language.source import MappingNode, parse
from pgflow_yaml.project.files import FlowFile, compile_content, is_test, walk
from pgflow_yaml.project.flow_set import FlowSet
from pgflow_yaml.project.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgflow_yaml.language.source import Document

_YAML = (".yaml", ".yml")
_FLOW = re.compile(r"(?m)^flow[ \t]*:[ \t]*[\"']?(\w+)")


class Project:
    """Flow files below the folders of an editor; open ones have the text of the editor."""

    def __init__(self, folders: Sequence[Path], opened: Mapping[Path, str]) -> None:
        """Store the folders, and the texts of the open files by their paths."""
        self.folders = folders
        self.opened = opened

    def findings(self, file: Path) -> Sequence[Diagnostic]:
        """Return the findings in an open file: the same as those of `validate`."""
        text = self.opened[file]
        if is_test(file.name):
            return _test_findings(file, text)
        main = compile_content(text.encode("utf-8", "surrogatepass"), file=str(file))
        checked = FlowSet.of([main, *self._children(main)]).check()
        try:
            settings = read_settings(self._home(file), flags={}, environ=os.environ)
        except WrongSetting as error:
            finding = Diagnostic(code="", message=error.message, span=None)
            return checked.files[0].with_findings([finding]).diagnostics
        return checked.with_hidden(settings).files[0].diagnostics

    def flows(self, near: Path) -> dict[str, Path]:
        """Return the file of each flow by its name; the nearest one if several have the name."""
        found: dict[str, Path] = {}
        paths = {*self.opened, *self._files(near)}
        for path in sorted(paths, key=lambda path: (-_shared(path, near), str(path))):
            match = None if is_test(path.name) else _FLOW.search(self.text(path))
            if match is not None:
                found.setdefault(match[1], path)
        return found

    def tests(self, near: Path) -> list[Path]:
        """Return the test files of the project."""
        return sorted(path for path in {*self.opened, *self._files(near)} if is_test(path.name))

    def flow(self, name: str, near: Path) -> tuple[Path, Document, MappingNode] | None:
        """Return file, text and root of a flow by `name`, `name@version` or path."""
        by_path = near.parent / name if name.endswith(_YAML) else None
        file = by_path or self.flows(near).get(name.partition("@")[0])
        document = parse(self.text(file)) if file else None
        if file is None or document is None or not isinstance(document.root, MappingNode):
            return None
        return file, document, document.root

    def text(self, file: Path) -> str:
        """Return the text of a file, "" if it cannot be read."""
        if file in self.opened:
            return self.opened[file]
        try:
            return file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def own_roots(self, near: Path) -> list[Path]:
        """Return the folders in which modules of the project lie."""
        roots = [near.parent, *self.folders]
        try:
            settings = read_settings(self._home(near), flags={}, environ=os.environ)
        except WrongSetting:
            return list(dict.fromkeys(roots))
        return list(dict.fromkeys([settings.app_dir, *roots]))

    def roots(self, near: Path) -> list[Path]:
        """Return the folders in which a handler's module can lie, installed ones last."""
        return [*self.own_roots(near), *(Path(entry) for entry in sys.path if entry)]

    def _home(self, file: Path) -> Path:
        """Return the folder in which one would call `validate`: the editor's, or the file's."""
        return next((f for f in self.folders if file.is_relative_to(f)), file.parent)

    def _files(self, near: Path) -> Iterator[Path]:
        for top in self.folders or [near.parent]:
            yield from walk(top, _YAML)

    def _children(self, main: FlowFile) -> Iterator[FlowFile]:
        """Yield the files of the flows that a flow runs, at any depth."""
        from pgflow_yaml.language.validation import children_of

        if main.definition is None:
            return
        known = {flow.name for flow in main.definition.family}
        pending = [c for flow in main.definition.family for c in children_of(flow.body)]
        files = self.flows(Path(main.file)) if pending else {}
        while pending:
            name = pending.pop().partition("@")[0]
            if name in known or name not in files:
                continue
            known.add(name)
            child = compile_content(self.text(files[name]).encode(), file=str(files[name]))
            yield child
            if child.definition is not None:
                pending += [c for flow in child.definition.family for c in children_of(flow.body)]


def _test_findings(file: Path, text: str) -> Sequence[Diagnostic]:
    from pgflow_yaml.testing.running import prepare

    tested = prepare(file, content=text.encode("utf-8", "surrogatepass"))
    if tested.flow_error is None:
        return tested.diagnostics
    first = next(each for each in tested.flow_error.diagnostics if each.severity == "error")
    message = f"the flow is not valid: {tested.flow_error.message}"
    return [*tested.diagnostics, Diagnostic(code=first.code, message=message, span=None)]


def _shared(path: Path, near: Path) -> int:
    """Return the number of folders that two files share."""
    return len({*path.parents} & {*near.parents})


def is_ours(file: Path, text: str) -> bool:
    """Return true for a flow file or a test file; other YAML files are left alone."""
    return (
        file.name.endswith((".flow.yaml", ".flow.yml"))
        or is_test(file.name)
        or _FLOW.search(text) is not None
    )
