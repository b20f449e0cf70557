"""The flows of a set by the database of their routes: what belongs together stays together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.project.flow_set import FlowSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgflow_yaml.language.model import Definition
    from pgflow_yaml.project.files import FlowFile


def parts(flows: FlowSet, name_of: Callable[[str], str]) -> dict[str, FlowSet]:
    """Return the flows of a valid set by database; `name_of` returns that of a flow.

    Raises InvalidFlow, and WrongSetting for a flow that runs or hears one of another database.
    """
    flows.require()
    files: dict[str, list[FlowFile]] = {}
    for file in flows.files:
        definition = file.require()
        database = name_of(definition.name)
        for position, verb, other in _others(file, definition):
            if (elsewhere := name_of(other)) != database:
                raise WrongSetting(
                    f'{position}: flow "{definition.name}" goes to database "{database}" and '
                    f'{verb} flow "{other}", which goes to "{elsewhere}"; give both one route'
                )
        files.setdefault(database, []).append(file)
    return {name: FlowSet(tuple(part)) for name, part in files.items()}


def _others(file: FlowFile, definition: Definition) -> Iterator[tuple[str, str, str]]:
    """Return (position, verb, flow) of the flows that one needs in its own database."""
    from pgflow_yaml.language.validation.children import children_by_step
    from pgflow_yaml.language.validation.positions import step_positions

    inner = {flow.name for flow in definition.family}
    for flow in definition.family:
        for step, child in children_by_step(flow.body):
            if child not in inner:
                where = step_positions(file.file, file.source, flow.name)
                yield where.get(step, file.file), "runs", child
    body: dict[str, Any] = definition.body
    for name in body.get("after", {}).get("flows", ()):
        if "*" not in name:  # a pattern hears those of its own database
            yield file.file, "starts after", name
