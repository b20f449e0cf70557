"""Read the text of a `*.test.yaml` file into a `Suite`, or find every mistake in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING

from pgflow_yaml.language import source
from pgflow_yaml.language.source import MappingNode, ScalarNode, SequenceNode
from pgflow_yaml.language.validation.findings import Report
from pgflow_yaml.testing.mock_reading import read_mocks
from pgflow_yaml.testing.model import Case, Suite
from pgflow_yaml.testing.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.errors import Diagnostic
    from pgflow_yaml.language.source import Document, Node
    from pgflow_yaml.testing.model import Mock

FILE_KEYS = ("flow", "files", "description", "now", "mocks", "cases")
CASE_KEYS = ("description", "input", "now", "at", "mocks", "expect")
EXPECT_KEYS = ("status", "output", "error", "steps", "outputs", "attempts")
STEP_KEYS = ("status", "skip_reason", "output", "error", "attempts", "iteration", "with", "items")
RUN_STATUSES = ("completed", "failed", "cancelled")
STEP_STATUSES = ("completed", "skipped", "failed", "cancelled")
START = datetime(2030, 1, 1, tzinfo=UTC)
"""The default time at which a run starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Result of reading a test file: the suite, None when there are findings, and the findings."""

    source: str
    suite: Suite | None
    diagnostics: tuple[Diagnostic, ...]


def read_suite(content: bytes, *, file: str) -> Read:
    """Return the suite of a test file, or its findings sorted by position."""
    text, undecodable = source.decode(content)
    if undecodable is not None:
        return Read(source=text, suite=None, diagnostics=(undecodable,))
    document = source.parse(text)
    report = Report(document)
    suite = _suite(document, Nodes(report), file) if not document.diagnostics else None
    findings = sorted([*document.diagnostics, *report.diagnostics], key=attrgetter("position"))
    return Read(source=text, suite=None if findings else suite, diagnostics=tuple(findings))


def _suite(document: Document, nodes: Nodes, file: str) -> Suite | None:
    root = document.root
    if root is None or (isinstance(root, ScalarNode) and root.value is None):
        span = document.lines.span(0, 0)
        nodes.report.add("PF501", "the file is empty", span, fix="begin with `flow:` and `cases:`")
        return None
    if isinstance(root, MappingNode) and "steps" in root.entries and "cases" not in root.entries:
        fix = f"write its cases in {file.removesuffix('.yaml').removesuffix('.flow')}.test.yaml"
        nodes.report.add("PF501", "this is a flow, not a test of one", root, fix=fix)
        return None
    entries = nodes.mapping(root, "the test file", known=FILE_KEYS, required=("flow", "cases"))
    if not {"flow", "cases"} <= entries.keys():
        return None
    _, flow_node = entries["flow"]
    _described(nodes, entries)
    now = _now(nodes, entries, START)
    shared = read_mocks(nodes, entries["mocks"][1]) if "mocks" in entries else {}
    cases = tuple(
        _case(nodes, key, node, now=now, shared=shared)
        for key, node in nodes.mapping(entries["cases"][1], "`cases`", filled=True).values()
    )
    return Suite(
        file=file,
        document=document,
        flow=nodes.text(flow_node, "`flow`") or "",
        flow_node=flow_node,
        files=_files(nodes, entries),
        cases=cases,
    )


def _described(nodes: Nodes, entries: Mapping[str, tuple[ScalarNode, Node]]) -> None:
    if "description" in entries:
        nodes.text(entries["description"][1], "`description`")


def _files(nodes: Nodes, entries: Mapping[str, tuple[ScalarNode, Node]]) -> tuple[str, ...]:
    if "files" not in entries:
        return ()
    node = entries["files"][1]
    if not isinstance(node, SequenceNode):
        nodes.wrong_type(node, "`files`", "a list of paths", fix="write `files: [child.flow.yaml]`")
        return ()
    return tuple(nodes.text(item, "a path in `files`") or "" for item in node.items)


def _now(
    nodes: Nodes,
    entries: Mapping[str, tuple[ScalarNode, Node]],
    default: datetime,
    key: str = "now",
) -> datetime:
    if key not in entries:
        return default
    node = entries[key][1]
    text = nodes.text(node, f"`{key}`")
    try:
        moment = datetime.fromisoformat(text) if text else default
    except ValueError:
        moment = default.replace(tzinfo=None)
    if moment.tzinfo is None:
        fix = f'write a time with its offset: {key}: "2030-01-01T09:00:00Z"'
        nodes.report.add("PF504", f'"{text}" is not a time', node, fix=fix)
        return default
    return moment


def _case(
    nodes: Nodes, key: ScalarNode, node: Node, *, now: datetime, shared: Mapping[str, Mock]
) -> Case:
    name = key.text
    entries = nodes.mapping(node, f'case "{name}"', known=CASE_KEYS, required=("expect",))
    _described(nodes, entries)
    mocks = read_mocks(nodes, entries["mocks"][1]) if "mocks" in entries else {}
    input_node = entries["input"][1] if "input" in entries else None
    at = _now(nodes, entries, now, "at") if "at" in entries else None
    for other in ("input", "now") if at else ():
        if other in entries:
            message = f"a case with `at` has no `{other}`: the schedule of the flow gives it"
            nodes.report.add("PF504", message, entries[other][0], fix="remove one of the two")
    return Case(
        name=name,
        node=key,
        input={} if input_node is None else input_node.data(),
        input_node=input_node,
        now=at or _now(nodes, entries, now),
        at=at,
        at_node=entries["at"][1] if "at" in entries else None,
        mocks={**shared, **mocks},
        expect=_expect(nodes, entries["expect"][1]) if "expect" in entries else {},
    )


def _expect(nodes: Nodes, node: Node) -> dict[str, Node]:
    entries = nodes.mapping(node, "`expect`", known=EXPECT_KEYS, filled=True)
    expected = {key: value for key, (_, value) in entries.items()}
    if "status" in expected:
        nodes.choice(expected["status"], "`status`", RUN_STATUSES)
    if "steps" in expected:
        for slug, (_, step) in nodes.mapping(expected["steps"], "`steps`").items():
            _expected_step(nodes, slug, step)
    for key in ("outputs", "attempts"):
        if key in expected:
            nodes.mapping(expected[key], f"`{key}`")
    return expected


def _expected_step(nodes: Nodes, slug: str, node: Node) -> None:
    if isinstance(node, MappingNode):
        entries = nodes.mapping(node, f'step "{slug}"', known=STEP_KEYS)
        if "status" in entries:
            nodes.choice(entries["status"][1], "`status`", STEP_STATUSES)
        return
    nodes.choice(node, f'step "{slug}"', STEP_STATUSES)
