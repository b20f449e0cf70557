"""The flow files that a test file is about: found beside it, checked, compiled."""

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
"""The handler that a mocked `flow` step has; nobody calls it."""
Mocks: TypeAlias = "dict[str, dict[str, Mock]]"
_FLOW = re.compile(r"""^flow:[ \t]*["']?([A-Za-z0-9_]+)""", re.MULTILINE)
_FOREVER_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A compiled flow."""

    definition: Definition

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """The steps of the definition, with those of `finally`."""
        body = cast("dict[str, dict[str, Any]]", self.definition.body)
        return {**body["steps"], **body.get("finally", {})}


class Library:
    """The flows within reach of one test file, by name; each file is read once."""

    def __init__(self, test_file: Path, more: Iterable[str] = ()) -> None:
        """`more` are further flow files, relative to the test file."""
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
            found = _flow_name(path)
            if found == name:
                return self._load(path)
            names += [found] if found else []
        hint = did_you_mean(name, names)
        known = "" if hint else f" (there: {', '.join(names[:5])})" if names else ""
        raise NotFound(f'there is no flow "{name}" beside {self._test_file}{hint}{known}')

    def family(self, flow: Flow, mocks: Iterable[Mapping[str, Mock]]) -> dict[str, Flow]:
        """Return the flow and all that its runs may start, by name.

        `mocks` are those of each case: a child that every case mocks need not be there.
        """
        found = {flow.definition.name: flow}
        always = [{slug for slug, mock in each.items() if mock.plays} for each in mocks]
        mocked = set.intersection(*always) if always else set()
        waiting = [child for slug, child in children(flow) if slug not in mocked]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = self.named(name)
                waiting += [child for _, child in children(found[name])]
        return found

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


def children(flow: Flow) -> list[tuple[str, str]]:
    """Name each step that runs another flow, and that flow."""
    return [
        (slug, str(step["flow"]).partition("@")[0])
        for slug, step in flow.steps.items()
        if "flow" in step
    ]


def with_stand_ins(flow: Flow, mocks: Mapping[str, Mock]) -> Definition:
    """Return the definition as it is tested.

    Mocked `flow` steps call a handler instead; the others run what is in the files, whatever
    version they name.
    """
    definition = flow.definition
    if not children(flow):
        return definition
    body = dict(definition.body)
    for part in SECTIONS:
        if part in body:
            steps = cast("dict[str, dict[str, Json]]", body[part])
            body[part] = {slug: _tested(step, mocks.get(slug)) for slug, step in steps.items()}
    return replace(definition, body=body, version=version_of(body))


def mocks_by_flow(flow: Flow, mocks: Mapping[str, Mock], family: Mapping[str, Flow]) -> Mocks:
    """Collect the mocks for the steps of every flow below this one, by the name of the flow."""
    found: Mocks = {}
    for slug, name in children(flow):
        if slug in mocks and name in family:
            found.setdefault(name, {}).update(mocks[slug].mocks)
            for below, more in mocks_by_flow(family[name], mocks[slug].mocks, family).items():
                found.setdefault(below, {}).update(more)
    return found


def _tested(step: dict[str, Json], mock: Mock | None) -> Json:
    if "flow" not in step:
        return step
    if mock is None or not _stands_in(mock):
        return {**step, "flow": str(step["flow"]).partition("@")[0]}
    kept = {key: value for key, value in step.items() if key != "flow"}
    return {"timeout": _FOREVER_MS, **kept, "handler": STAND_IN}


def _stands_in(mock: Mock) -> bool:
    """Whether a mock of a `flow` step is an outcome, and not mocks for the child's own steps."""
    return bool(mock.plays or mock.items)


def _flow_name(path: Path) -> str | None:
    try:
        found = _FLOW.search(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None
