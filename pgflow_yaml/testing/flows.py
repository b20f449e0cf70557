"""Flow files of a test file, from its folder: checked and compiled."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pgflow_yaml.errors import NotFound
from pgflow_yaml.language.compiler import version_of
from pgflow_yaml.language.model import SECTIONS
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.project import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pgflow_yaml.language.model import Definition, Json
    from pgflow_yaml.testing.model import Mock

STAND_IN = "pgflow_yaml.handlers.stand_in"
"""The handler of a mocked `flow` step; it is never called."""
Mocks: TypeAlias = "dict[str, dict[str, Mock]]"
_FLOW = re.compile(r"""^flow:[ \t]*["']?([A-Za-z0-9_]+)""", re.MULTILINE)
_FOREVER_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Compiled flow."""

    definition: Definition

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """All steps of the definition, those of `finally` included."""
        body = cast("dict[str, dict[str, Any]]", self.definition.body)
        return {**body["steps"], **body.get("finally", {})}


class Library:
    """Flows that a test file can use, by name; each file is read once."""

    def __init__(self, test_file: Path, more: Iterable[str] = ()) -> None:
        """Store the test file, and further flow files relative to it."""
        self._test_file = test_file
        self._read: dict[Path, Flow] = {}
        self._more = [test_file.parent / name for name in more]

    def main(self, text: str) -> Flow:
        """Return the flow that `flow:` names, by name or by file; raises NotFound, InvalidFlow."""
        if "/" in text or text.endswith((".yaml", ".yml")):
            return self._load(self._test_file.parent / text)
        return self.named(text)

    def named(self, name: str) -> Flow:
        """Return the flow of this name; raises NotFound, InvalidFlow."""
        names = []
        for path in self._candidates():
            flow_name = _flow_name(path)
            if flow_name == name:
                return self._load(path)
            names += [flow_name] if flow_name else []
        hint = did_you_mean(name, names)
        known = "" if hint else f" (there: {', '.join(names[:5])})" if names else ""
        raise NotFound(f'there is no flow "{name}" beside {self._test_file}{hint}{known}')

    def family(self, flow: Flow, mocks: Iterable[Mapping[str, Mock]]) -> dict[str, Flow]:
        """Return the flow and all flows that its runs may start, by name.

        `mocks` are those of each case: a child that every case mocks may be missing. Raises
        NotFound, InvalidFlow.
        """
        flows = _family(flow)
        by_case = [{slug for slug, mock in case.items() if mock.plays} for case in mocks]
        mocked = set.intersection(*by_case) if by_case else set()
        inner = [other for name, other in flows.items() if name != flow.definition.name]
        pending = [child for slug, child in children(flow) if slug not in mocked]
        pending += [child for other in inner for _, child in children(other)]
        while pending:
            name = pending.pop()
            if name not in flows:
                more = _family(self.named(name))
                flows |= more
                pending += [child for other in more.values() for _, child in children(other)]
        return flows

    def _candidates(self) -> Iterator[Path]:
        folder, stem = self._test_file.parent, self._test_file.name.removesuffix(".test.yaml")
        first = [folder / f"{stem}{suffix}" for suffix in (".flow.yaml", ".yaml", ".yml")]
        others = sorted(path for path in folder.glob("*.y*ml") if ".test." not in path.name)
        yield from self._more
        yield from (path for path in first if path.is_file())
        yield from (path for path in others if path not in first)

    def _load(self, path: Path) -> Flow:
        if path not in self._read:
            self._read[path] = Flow(definition=files.load(path))
        return self._read[path]


def _family(flow: Flow) -> dict[str, Flow]:
    """Return a flow and those that are written in its steps, by name."""
    inner = {below.name: Flow(definition=below) for below in flow.definition.inner}
    return {flow.definition.name: flow, **inner}


def children(flow: Flow) -> list[tuple[str, str]]:
    """Return the name of each step that runs another flow, with the name of that flow."""
    return [
        (slug, str(step["flow"]).partition("@")[0])
        for slug, step in flow.steps.items()
        if "flow" in step
    ]


def with_stand_ins(flow: Flow, mocks: Mapping[str, Mock]) -> Definition:
    """Return the definition to test.

    Mocked `flow` steps call a handler instead; the others run the flow in the files, whatever
    version they name.
    """
    definition = without_schedule(flow.definition)
    if not children(flow):
        return definition
    body = dict(definition.body)
    for part in SECTIONS:
        if part in body:
            steps = cast("dict[str, dict[str, Json]]", body[part])
            body[part] = {slug: _tested(step, mocks.get(slug)) for slug, step in steps.items()}
    return replace(definition, body=body, version=version_of(body))


def without_schedule(definition: Definition) -> Definition:
    """Return a definition that starts nothing by itself: a test plays one run, at its own time."""
    body = {key: value for key, value in definition.body.items() if key != "schedule"}
    return replace(definition, body=body)


def mocks_by_flow(flow: Flow, mocks: Mapping[str, Mock], family: Mapping[str, Flow]) -> Mocks:
    """Return the mocks for the steps of every flow below this one, by the name of the flow."""
    by_flow: Mocks = {}
    for slug, name in children(flow):
        if slug in mocks and name in family:
            by_flow.setdefault(name, {}).update(mocks[slug].mocks)
            for below, more in mocks_by_flow(family[name], mocks[slug].mocks, family).items():
                by_flow.setdefault(below, {}).update(more)
    return by_flow


def _tested(step: dict[str, Json], mock: Mock | None) -> Json:
    if "flow" not in step:
        return step
    if mock is None or not _stands_in(mock):
        return {**step, "flow": str(step["flow"]).partition("@")[0]}
    kept = {key: value for key, value in step.items() if key != "flow"}
    return {"timeout": _FOREVER_MS, **kept, "handler": STAND_IN}


def _stands_in(mock: Mock) -> bool:
    """Return True when the mock of a `flow` step is an outcome, not mocks for the child's steps."""
    return bool(mock.plays or mock.items)


def _flow_name(path: Path) -> str | None:
    try:
        match = _FLOW.search(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None
    return match[1] if match else None
