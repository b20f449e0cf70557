"""Check of a flow file: a `Flow`, or every mistake in the file at once.

Three layers: YAML (`source`), shape (the JSON Schema), meaning (names, order, expressions). Only
broken YAML stops; the other two report together.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic, InvalidFlow
from pgflow_yaml.language import source
from pgflow_yaml.language.source import Document, MappingNode
from pgflow_yaml.language.validation.children import check_flows, children_of, is_given
from pgflow_yaml.language.validation.error_positions import error_finding
from pgflow_yaml.language.validation.findings import Report
from pgflow_yaml.language.validation.flows import build_flow
from pgflow_yaml.language.validation.shape import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Flow

__all__ = ["Checked", "check", "check_flows", "children_of", "error_finding", "is_given"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Result of checking one file: the flow, unless the file is invalid, and all findings."""

    file: str
    source: str
    flow: Flow | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Return the findings that make the file invalid."""
        return tuple(finding for finding in self.diagnostics if finding.severity == "error")

    def require(self) -> Flow:
        """Return the flow; raises InvalidFlow if the file is invalid."""
        if self.flow is None:
            raise InvalidFlow(self.file, self.source, self.diagnostics)
        return self.flow


def check(content: str | bytes, *, file: str, schema: Mapping[str, Any]) -> Checked:
    """Check the content of a flow file against the language; `schema` is the workflow schema."""
    undecodable = None
    text = content.removeprefix("\ufeff") if isinstance(content, str) else ""
    if isinstance(content, bytes):
        text, undecodable = source.decode(content)
    if undecodable is not None:
        return Checked(file=file, source=text, flow=None, diagnostics=(undecodable,))
    document = source.parse(text)
    diagnostics = list(document.diagnostics)
    flow = None
    if document.root is not None:
        flow, more = _check_document(document, schema)
        diagnostics += more
    elif not diagnostics:
        diagnostics.append(_empty_file(document))
    diagnostics.sort(key=attrgetter("position"))
    if any(finding.severity == "error" for finding in diagnostics):
        flow = None
    return Checked(file=file, source=text, flow=flow, diagnostics=tuple(diagnostics))


def _check_document(
    document: Document, schema: Mapping[str, Any]
) -> tuple[Flow | None, list[Diagnostic]]:
    step_keys = frozenset(schema["definitions"]["step"]["properties"])
    report = Report(document, step_keys=step_keys)
    root = document.root
    if root is None or (isinstance(root, source.ScalarNode) and root.value is None):
        return None, [_empty_file(document)]
    Shape(schema, report).check(root, schema, ())
    if not isinstance(root, MappingNode):
        return None, report.diagnostics
    return build_flow(report, root), report.diagnostics


def _empty_file(document: Document) -> Diagnostic:
    return Diagnostic(
        code="PF101",
        message="the file is empty",
        span=document.lines.span(0, 0),
        help="begin with `flow: my_flow` and `steps:`; `pgflow-yaml init` writes an example",
    )
