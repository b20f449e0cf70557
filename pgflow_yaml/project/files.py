"""The flow files of a project: read, checked, compiled; and the schemas that the package ships."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import InvalidFlow, NotFound
from pgflow_yaml.language.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def require(self) -> Definition:
        """Return the definition; raises InvalidFlow if the file is invalid."""
        if self.definition is None:
            raise InvalidFlow(self.file, self.source, self.diagnostics)
        return self.definition

    def with_findings(self, findings: Sequence[Diagnostic]) -> FlowFile:
        """Return the file with further findings, in the order of their positions."""
        merged = sorted([*self.diagnostics, *findings], key=attrgetter("position"))
        return replace(self, diagnostics=merged)

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


def is_test(file: str) -> bool:
    """Return true if the name of a file is that of a test file."""
    return file.endswith(".test.yaml")


def read(path: str | Path) -> bytes:
    """Return the content of a file; raises NotFound."""
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near = [other.name for other in path.parent.glob("*.y*ml")]
        hint = did_you_mean(path.name, near)
        raise NotFound(f'there is no file "{path}"{hint}', suggestions=near[:5]) from None
    except OSError as error:
        raise NotFound(f'"{path}" cannot be read: {error.strerror}') from error


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of flow files."""
    content: dict[str, Any] = json.loads(schema_text())
    return content


def schema_text(kind: str = "workflow") -> str:
    """Return the text of the JSON Schema of flow files, or of test files (`kind` is "test")."""
    from importlib.resources import files

    return (files("pgflow_yaml") / "schemas" / f"{kind}.schema.json").read_text("utf-8")
