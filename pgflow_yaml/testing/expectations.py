"""Compare the expectations of a case with its run, and locate each difference in the file."""

from __future__ import annotations

import json
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.errors import Diagnostic
from pgflow_yaml.language.inputs import same
from pgflow_yaml.language.source import MappingNode, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgflow_yaml.errors import Span
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.language.source import Document, Node
    from pgflow_yaml.testing.driver import Played
    from pgflow_yaml.testing.model import Case

DIFFERENT, STUCK = "PF520", "PF521"
_SHOWN = 200


def differences(case: Case, played: Played, document: Document) -> list[Diagnostic]:
    """Return a finding for each difference, sorted by position."""
    return sorted(_Differences(case, played, document).all(), key=attrgetter("position"))


class _Differences:
    def __init__(self, case: Case, played: Played, document: Document) -> None:
        self.case, self.played, self.document = case, played, document
        # Compared key by key with what the case names: JSON, no longer a known shape.
        self.run = cast("dict[str, Any]", played.snapshot["run"])
        self.steps = {
            step["slug"]: cast("dict[str, Any]", step) for step in played.snapshot["steps"]
        }

    def all(self) -> Iterator[Diagnostic]:
        expect = self.case.expect
        if self.played.stuck is not None:
            yield self.finding(STUCK, self.played.stuck, self.document.span(self.case.node))
        yield from self.status(expect)
        if "output" in expect:
            yield from self.compare(expect["output"], self.run["output"], "the run's output")
        if "error" in expect:
            yield from self.error(expect["error"], self.run["error"], "the run's error")
        for slug, node in _entries(expect.get("steps")):
            yield from self.step(slug, node)
        for slug, node in _entries(expect.get("outputs")):
            yield from self.compare(node, self.steps[slug]["output"], f'the output of "{slug}"')
        for slug, node in _entries(expect.get("attempts")):
            yield from self.compare(node, self.steps[slug]["attempts"], f'the attempts of "{slug}"')

    def status(self, expect: Mapping[str, Node]) -> Iterator[Diagnostic]:
        actual = self.run["status"]
        if "status" in expect:
            reason = self.reason(self.run) if actual == "failed" else None
            yield from self.compare(expect["status"], actual, "the run's status", fix=reason)
        elif actual != "completed" and "error" not in expect and self.played.stuck is None:
            message = f"the run {_did(actual)}, and the case does not say that it may"
            span = self.document.span(self.case.node)
            fix = self.reason(self.run) or f"write `status: {actual}` under `expect`"
            yield self.finding(DIFFERENT, message, span, fix=fix)

    def step(self, slug: str, node: Node) -> Iterator[Diagnostic]:
        step = self.steps[slug]
        name = f'step "{slug}"'
        if not isinstance(node, MappingNode):
            yield from self.compare(node, step["status"], name, fix=self.reason(step))
            return
        for key, inner in _entries(node):
            if key == "error":
                yield from self.error(inner, step["error"], f"the error of {name}")
            elif key == "with":
                if slug in self.played.arguments:
                    arguments = self.played.arguments[slug]
                    yield from self.compare(inner, arguments, f"what {name} was called with")
                else:
                    span = self.document.span(inner)
                    yield self.finding(DIFFERENT, f"{name} was never called", span)
            elif key == "status":
                yield from self.compare(inner, step["status"], name, fix=self.reason(step))
            else:
                yield from self.compare(inner, step.get(key), f"{key} of {name}")

    def error(self, node: Node, actual: Json, what: str) -> Iterator[Diagnostic]:
        """Yield the differences of an error: a text is its type, a mapping is compared whole."""
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            kind = actual.get("type") if isinstance(actual, dict) else None
            message = actual.get("message") if isinstance(actual, dict) else None
            yield from self.compare(node, kind, what, fix=str(message) if message else None)
        else:
            yield from self.compare(node, actual, what)

    def compare(
        self, node: Node, actual: Json, what: str, *, fix: str | None = None
    ) -> Iterator[Diagnostic]:
        for at, path, message in _mismatches(node, actual):
            yield self.finding(
                DIFFERENT, f"{what}{path}: {message}", self.document.span(at), fix=fix
            )

    def reason(self, state: Mapping[str, Any]) -> str | None:
        """Return the reason for the status of a step or a run."""
        error = state.get("error")
        if error:
            step = f'step "{error["step"]}": ' if error.get("step") else ""
            return f"{step}{error.get('type')}: {error.get('message')}"
        return state.get("skip_reason")

    def finding(self, code: str, message: str, span: Span, *, fix: str | None = None) -> Diagnostic:
        return Diagnostic(code=code, message=message, span=span, help=fix)


def _mismatches(node: Node, actual: Json, path: str = "") -> Iterator[tuple[Node, str, str]]:
    """Yield node, path and message of each mismatch.

    Mappings may have more keys than expected; lists have the same length and match item by item.
    """
    if isinstance(node, MappingNode) and isinstance(actual, dict):
        for key, (key_node, value) in node.entries.items():
            if key in actual:
                yield from _mismatches(value, actual[key], f"{path}.{key}")
            else:
                yield key_node, f"{path}.{key}", f"expected {shown(value.data())}, is missing"
    elif isinstance(node, SequenceNode) and isinstance(actual, list):
        if len(node.items) != len(actual):
            counts = f"expected {len(node.items)} items, got {len(actual)}: {shown(actual)}"
            yield node, path, counts
            return
        for index, (item, actual_item) in enumerate(zip(node.items, actual, strict=True)):
            yield from _mismatches(item, actual_item, f"{path}[{index}]")
    elif not same(node.data(), actual):
        yield node, path, f"expected {shown(node.data())}, got {shown(actual)}"


def shown(value: Json) -> str:
    """Return a value on one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _did(status: str) -> str:
    return {"failed": "failed", "cancelled": "was cancelled"}.get(status, "did not end")


def _entries(node: Node | None) -> list[tuple[str, Node]]:
    if not isinstance(node, MappingNode):
        return []
    return [(key, value) for key, (_, value) in node.entries.items()]
