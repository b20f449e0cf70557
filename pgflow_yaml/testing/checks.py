"""Check a test file against its flow: existing steps, and mocks that fit them."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from pgflow_yaml.language.source import MappingNode
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.language.validation.findings import Report
from pgflow_yaml.testing.flows import children

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.errors import Diagnostic
    from pgflow_yaml.language.source import Node, ScalarNode
    from pgflow_yaml.testing.flows import Flow
    from pgflow_yaml.testing.model import Mock, Play, Suite

UNKNOWN_STEP, MISFIT = "PF505", "PF506"


def misfits(suite: Suite, flow: Flow, family: Mapping[str, Flow]) -> list[Diagnostic]:
    """Return the findings about a test file that does not fit its flow."""
    report = Report(suite.document)
    root = suite.document.root
    assert isinstance(root, MappingNode)
    cases = root.get("cases")
    assert isinstance(cases, MappingNode)
    _known_steps(report, _mocks(root), flow)
    for case in suite.cases:
        _known_steps(report, _mocks(cases.get(case.name)), flow)
        for key in ("steps", "outputs", "attempts"):
            _known_steps(report, case.expect.get(key), flow)
        _fitting(report, case.mocks, flow, family)
    return sorted(report.diagnostics, key=attrgetter("position"))


def _mocks(holder: Node | None) -> Node | None:
    """Return the node under `mocks` of the test file, a case or a mock."""
    return holder.get("mocks") if isinstance(holder, MappingNode) else None


def _known_steps(report: Report, node: Node | None, flow: Flow) -> None:
    if isinstance(node, MappingNode):
        for key, _ in node.entries.values():
            if key.text not in flow.steps:
                _unknown(report, key, flow)


def _unknown(report: Report, key: ScalarNode, flow: Flow) -> None:
    names = list(flow.steps)
    listed = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    hint = did_you_mean(key.text, names)
    message = f'flow "{flow.definition.name}" has no step "{key.text}"{hint}'
    report.add(UNKNOWN_STEP, message, key, fix=f"its steps are {listed}")


def _fitting(
    report: Report, mocks: Mapping[str, Mock], flow: Flow, family: Mapping[str, Flow]
) -> None:
    named = dict(children(flow))
    for slug, mock in mocks.items():
        step = flow.steps.get(slug)
        if step is None:
            continue
        for item_mock in (mock, *mock.items.values()):
            for play in item_mock.plays:
                _fits(report, slug, step, play)
        if mock.items and "map" not in step and "initial_tasks" not in step:
            message = f'step "{slug}" is not a map: its mock cannot have `items`'
            report.add(MISFIT, message, mock.node, fix="write a list for call after call")
        if mock.mocks and slug not in named:
            message = f'step "{slug}" does not run another flow: its mock cannot have `mocks`'
            report.add(MISFIT, message, mock.node, fix="mock the step itself: {output: …}")
        elif mock.mocks and named[slug] in family:
            child = family[named[slug]]
            _known_steps(report, _mocks(mock.node), child)
            _fitting(report, mock.mocks, child, family)


def _fits(report: Report, slug: str, step: Mapping[str, object], play: Play) -> None:
    if "wait" not in step:
        if play.decision is not None:
            message = f'step "{slug}" does not wait: nothing can be sent to it'
            report.add(MISFIT, message, play.node, fix="write {output: …} or {raises: ClassName}")
        return
    wait = step["wait"]
    if not isinstance(wait, dict) or "event" not in wait:
        message = f'step "{slug}" waits for a time, which comes by itself'
        report.add(MISFIT, message, play.node, fix="remove the mock")
    elif play.decision is None:
        message = f'step "{slug}" waits for event "{wait["event"]}": its mock must send something'
        fix = "write {event: DATA}, {approve: true} or {reject: true}"
        report.add(MISFIT, message, play.node, fix=fix)
