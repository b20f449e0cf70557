"""The flow files of a project: read, checked, compiled; and the schemas that the package ships."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import InvalidFlow, NotFound
from pgflow_yaml.language.suggestions import closest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgflow_yaml.errors import Diagnostic
    from pgflow_yaml.language.model import Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFile:
    """Flow file with its findings; `definition` is None when the file is invalid."""

    file: str
    source: str
    diagnostics: Sequence[Diagnostic]
    definition: Definition | None

    @property
    def errors(self) -> int:
        """Number of the findings that are errors."""
        return sum(finding.severity == "error" for finding in self.diagnostics)

    @property
    def needed(self) -> list[str]:
        """The handlers that a worker of the flow must be allowed to call."""
        from pgflow_yaml.project.handler_checks import needed

        family = self.definition.family if self.definition else ()
        return needed(flow.body for flow in family)

    def require(self) -> Definition:
        """Return the definition; raises InvalidFlow if the file is invalid."""
        if self.definition is None:
            raise InvalidFlow(self.file, self.source, self.diagnostics)
        return self.definition

    def with_findings(self, findings: Sequence[Diagnostic]) -> FlowFile:
        """Return the file with further findings, in the order of their positions."""
        merged = sorted([*self.diagnostics, *findings], key=attrgetter("position"))
        return replace(self, diagnostics=merged)

    def judged(self, findings: Sequence[Diagnostic]) -> FlowFile:
        """Return the file with further findings, invalid if one of them is an error."""
        if any(finding.severity == "error" for finding in findings):
            return self.refused(findings)
        return self.with_findings(findings) if findings else self

    def refused(self, findings: Sequence[Diagnostic]) -> FlowFile:
        """Return the file with findings that make it invalid."""
        return replace(self.with_findings(findings), definition=None)


def load(path: str | Path) -> Definition:
    """Read, check and compile a flow file; raises InvalidFlow with every mistake in it."""
    return load_file(path).require()


def check(path: str | Path) -> list[Diagnostic]:
    """Return every finding in a flow file; none means that it is valid."""
    return list(load_file(path).diagnostics)


def load_file(path: str | Path) -> FlowFile:
    """Read, check and compile a flow file; its findings are kept."""
    return compile_content(read(path), file=str(path))


def compile_content(content: bytes, *, file: str) -> FlowFile:
    """Check and compile the content of a flow file, wherever it comes from."""
    from pgflow_yaml.language.compiler import compile_flow
    from pgflow_yaml.language.validation import check as check_content

    checked = check_content(content, file=file, schema=schema())
    flow = checked.flow
    return FlowFile(
        file=file,
        source=checked.source,
        diagnostics=checked.diagnostics,
        definition=compile_flow(flow, source=checked.source) if flow else None,
    )


def is_file(text: str) -> bool:
    """Return true if a text names a file rather than a flow."""
    if text.endswith((".yaml", ".yml")) or "/" in text:
        return True
    return os.path.isfile(text)  # noqa: PTH113 (Path raises for a name that is too long)


def is_folder(text: str) -> bool:
    """Return true if a text names a folder."""
    return os.path.isdir(text)  # noqa: PTH112 (as above)


def is_test(file: str) -> bool:
    """Return true if the name of a file is that of a test file."""
    return file.endswith(".test.yaml")


def read(path: str | Path) -> bytes:
    """Return the content of a file; raises NotFound."""
    if not str(path):
        raise NotFound('there is no file ""; name one')
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near = _near(path)
        hint = f'; did you mean "{near}"?' if near else ""
        suggestions = [near] if near else []
        raise NotFound(f'there is no file "{path}"{hint}', suggestions=suggestions) from None
    except IsADirectoryError:
        message = f'"{path}" is a folder; name the files in it: {path}/*.yaml'
        raise NotFound(message) from None
    except OSError as error:
        raise NotFound(f'"{path}" cannot be read: {error.strerror}') from error


def in_folders(paths: Iterable[str]) -> list[str]:
    """Return the paths, with the flow files and test files below each folder in its place.

    A flow file is a `*.flow.yaml`, or another YAML file with a key `flow` of its own. Raises
    NotFound for a folder without any.
    """
    found: list[str] = []
    for path in paths:
        if not path or not Path(path).is_dir():
            found.append(path)
            continue
        below = [str(file) for file in sorted(Path(path).rglob("*.y*ml")) if _is_ours(file, path)]
        if not below:
            message = f'the folder "{path}" has no flow file: *.flow.yaml, or another with `flow:`'
            raise NotFound(message)
        found += below
    return found


def walk(folder: Path, ends: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below a folder whose names end so; hidden folders are left out."""
    for parent, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if name[0] != "." and name != "node_modules")
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(ends))


def _is_ours(file: Path, folder: str) -> bool:
    inside = file.relative_to(folder).parts
    if any(part.startswith(".") or part == "node_modules" for part in inside) or not file.is_file():
        return False
    if file.name.endswith((".flow.yaml", ".flow.yml")) or is_test(file.name):
        return True
    return re.search(rb"(?m)^flow[ \t]*:", file.read_bytes()) is not None


def _near(path: Path) -> str | None:
    """Return the name of the YAML file beside a missing one that is nearly the same, or None."""
    from difflib import SequenceMatcher

    files = [other.name for other in path.parent.glob("*.y*ml")]
    meant = _stem(path.name)
    files.sort(key=lambda name: (-SequenceMatcher(None, meant, _stem(name)).ratio(), name))
    names: dict[str, str] = {}
    for name in files:
        names.setdefault(_stem(name), name)
    near = closest(_stem(path.name), names) if re.search(r"\w", path.name) else None
    return None if near is None else names[near]


def _stem(name: str) -> str:
    """Return the name of a file without its extensions, which say nothing about what is meant."""
    return re.sub(r"(\.flow)?(\.ya?ml)?$", "", name)


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of flow files."""
    content: dict[str, Any] = json.loads(schema_text())
    return content


def schema_text(kind: str = "workflow") -> str:
    """Return the text of the JSON Schema of flow files, or of test files (`kind` is "test")."""
    from importlib.resources import files

    return (files("pgflow_yaml") / "schemas" / f"{kind}.schema.json").read_text("utf-8")
