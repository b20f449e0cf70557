"""Flow files that are checked and deployed together, with the findings between them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from pgflow_yaml.errors import Diagnostic, InvalidFlow
from pgflow_yaml.project.files import FlowFile, load_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pgflow_yaml.language.model import Definition, Json
    from pgflow_yaml.project.settings import Settings

CODE_DUPLICATE = "PF303"

StoredBody = Callable[[str, str | None], dict[str, Any] | None]
"""Look up the body of a stored flow by its name and version; None if it does not exist."""

StoredNames = Callable[[], Collection[str]]
"""Return the names of the stored flows; called only if a flow listens to others."""

Result_co = TypeVar("Result_co", covariant=True)


class Deployer(Protocol[Result_co]):
    """A client of a database in which flows are stored."""

    def deploy_set(self, flows: FlowSet, *, activate: bool = True) -> Result_co:
        """Store the flows of a set, children first."""


class InvalidFlows(InvalidFlow):
    """Some flow files have mistakes; `files` holds all of them, the valid ones included."""

    def __init__(self, files: Sequence[FlowFile]) -> None:
        """Store all files; the message names the first invalid one."""
        self.files = tuple(files)
        first = next(file for file in files if file.errors)
        super().__init__(first.file, first.source, first.diagnostics)


@dataclass(frozen=True, slots=True)
class FlowSet:
    """Flow files in the order in which they were named."""

    files: tuple[FlowFile, ...]

    @classmethod
    def load(cls, paths: Iterable[str | Path]) -> Self:
        """Read, check and compile files; a second file with the same flow gets a finding."""
        return cls.of(load_file(path) for path in paths)

    @classmethod
    def of(cls, files: Iterable[FlowFile]) -> Self:
        """Return a set of loaded files; a second file with the same flow gets a finding."""
        first: dict[str, str] = {}
        accepted: list[FlowFile] = []
        for file in files:
            names = [flow.name for flow in file.definition.family] if file.definition else []
            again = next((name for name in names if name in first), None)
            if again is not None:
                accepted.append(_duplicate(file, again, first[again]))
                continue
            first.update(dict.fromkeys(names, file.file))
            accepted.append(file)
        return cls(tuple(accepted))

    @classmethod
    def of_definitions(cls, definitions: Iterable[Definition]) -> Self:
        """Return a set of compiled flows; a finding names the flow in place of a file."""
        return cls.of(
            FlowFile(
                file=definition.name,
                source=definition.source,
                diagnostics=(),
                definition=definition,
            )
            for definition in definitions
        )

    @property
    def definitions(self) -> list[Definition]:
        """The definitions of the valid files."""
        return [file.definition for file in self.files if file.definition is not None]

    def check(
        self,
        *,
        stored: StoredBody | None = None,
        names: StoredNames | None = None,
        handlers: Settings | None = None,
    ) -> FlowSet:
        """Return the set with the findings between its flows: children, cycles, inputs, listeners.

        `stored` looks up children that are not in the set; without it an unknown child is only a
        warning. `names` returns those of the stored flows. With `handlers`, the handlers are
        imported and compared with their steps.
        """
        checked = self._with_children(stored).with_listeners(names)
        return checked if handlers is None else checked.with_handlers(handlers)

    def with_handlers(self, settings: Settings) -> FlowSet:
        """Return the set with the findings about its handlers, which are imported."""
        from pgflow_yaml.project.handler_checks import handler_findings

        files = []
        for file in self.files:
            findings = [
                finding
                for body in _bodies(file)
                for finding in handler_findings(file.source, body, settings)
            ]
            files.append(file.judged(findings))
        return FlowSet(tuple(files))

    def with_hidden(self, settings: Settings) -> FlowSet:
        """Return the set without the flows whose handlers installed modules hide.

        No module is imported; wrong arguments of the stock handlers are found, too.
        """
        from pgflow_yaml.project.handler_checks import hidden_findings

        files = []
        for file in self.files:
            findings = [
                finding
                for flow in (file.definition.family if file.definition else ())
                for finding in hidden_findings(flow.body, file.source, settings)
            ]
            files.append(file.judged(findings))
        return FlowSet(tuple(files))

    def with_listeners(self, names: StoredNames | None) -> FlowSet:
        """Return the set with a warning for each name in `after` that no flow has."""
        from pgflow_yaml.language.validation.unheard import unheard

        if not any("after" in definition.body for definition in self.definitions):
            return self
        given = [definition.name for definition in self.definitions]
        stored = None if names is None else names()
        return FlowSet(
            tuple(
                file.with_findings(unheard(file.definition, given, stored))
                if file.definition
                else file
                for file in self.files
            )
        )

    def require(self) -> list[Definition]:
        """Return the definitions; raises InvalidFlows if a file has an error."""
        if any(file.errors for file in self.files):
            raise InvalidFlows(self.files)
        return self.definitions

    def children_first(self) -> list[FlowFile]:
        """Return the valid files, each flow after those that its steps run.

        A worker may already start a flow while the next one is not stored yet.
        """
        from pgflow_yaml.language.validation import children_of

        by_name = {file.definition.name: file for file in self.files if file.definition is not None}
        ordered: dict[str, FlowFile] = {}
        visited: set[str] = set()

        def visit(name: str) -> None:
            file = by_name.get(name)
            if file is None or file.definition is None or name in visited:
                return
            visited.add(name)
            for flow in file.definition.family:
                for child in children_of(flow.body):
                    visit(child.partition("@")[0])
            ordered[name] = file

        for name in by_name:
            visit(name)
        return list(ordered.values())

    def deploy(self, client: Deployer[Result_co], *, activate: bool = True) -> Result_co:
        """Check the set against the database of a client and store it; see `Client.deploy`."""
        return client.deploy_set(self, activate=activate)

    def _with_children(self, stored: StoredBody | None) -> FlowSet:
        from pgflow_yaml.language.validation import check_flows

        definitions = [flow for main in self.definitions for flow in main.family]
        bodies = None if stored is None else _stored_children(definitions, stored)
        found = dict(
            zip(map(id, definitions), check_flows(definitions, stored=bodies), strict=True)
        )
        return FlowSet(
            tuple(
                file.with_findings(
                    [finding for flow in file.definition.family for finding in found[id(flow)]]
                )
                if file.definition
                else file
                for file in self.files
            )
        )


def _stored_children(
    definitions: Sequence[Definition], stored: StoredBody
) -> dict[str, dict[str, Any] | None]:
    """Return the bodies of the children that are not in the set, and of their children."""
    from pgflow_yaml.language.validation import children_of, is_given

    bodies: dict[str, dict[str, Any] | None] = {}
    pending = [child for definition in definitions for child in children_of(definition.body)]
    while pending:
        child = pending.pop()
        if child in bodies or is_given(child, definitions):
            continue
        name, _, version = child.partition("@")
        bodies[child] = body = stored(name, version or None)
        pending += children_of(body) if body else []
    return bodies


def _duplicate(file: FlowFile, name: str, first: str) -> FlowFile:
    from pgflow_yaml.language.source import MappingNode, parse

    document = parse(file.source)
    root = document.root
    node = root.get("flow") if isinstance(root, MappingNode) else None
    # A definition has its own name in place of a file.
    where = "deployed twice in one call" if first == name else f"in {first}, too"
    finding = Diagnostic(
        code=CODE_DUPLICATE,
        message=f'flow "{name}" is {where}',
        span=document.span(node) if node is not None else None,
        help="give one of them another name",
    )
    return file.refused([finding])


def _bodies(file: FlowFile) -> list[dict[str, Json] | None]:
    """Return the compiled flows of a file; None for those of an invalid one."""
    return [None] if file.definition is None else [flow.body for flow in file.definition.family]
