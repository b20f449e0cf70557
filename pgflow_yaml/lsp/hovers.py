"""Hovers: the meaning of a key, a step, an input field, a child flow or a handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.model import ACTIONS
from pgflow_yaml.language.source import MappingNode, ScalarNode
from pgflow_yaml.lsp import schema
from pgflow_yaml.lsp.cursor import path_at
from pgflow_yaml.lsp.names import definition_of, name_at, names_in
from pgflow_yaml.lsp.python_files import find_function
from pgflow_yaml.project.files import is_test

if TYPE_CHECKING:
    from pathlib import Path

    from pgflow_yaml.language.source import Document, Node
    from pgflow_yaml.lsp.names import Name
    from pgflow_yaml.lsp.project import Project


def hover(
    document: Document, offset: int, *, file: Path, project: Project
) -> tuple[str, int, int] | None:
    """Return what to show at an index of a text, as Markdown, and the range that it concerns."""
    name = None
    if not is_test(file.name):
        names = names_in(document)
        name = name_at(names, offset)
        if name is not None:
            text = _of_name(document, names, name, file=file, project=project)
            return (text, name.start, name.end) if text else None
    place = path_at(document.root, offset)
    if place is None or not place[1]:
        return None
    kind = "test" if is_test(file.name) else "workflow"
    found = schema.at_path(place[0], kind)
    text = schema.explanation(found) if found else ""
    return (f"**{place[0][-1]}**\n\n{text}", offset, offset) if text else None


def _of_name(
    document: Document, names: list[Name], name: Name, *, file: Path, project: Project
) -> str:
    if name.kind == "handler":
        function = find_function(name.name, project.roots(file))
        if function is None:
            return ""
        code = f"```python\n{function.signature}\n```"
        return f"{code}\n\n{function.docstring}" if function.docstring else code
    if name.kind == "flow":
        child = project.flow(name.name, file)
        return "" if child is None else _flow_text(name.name, child[2])
    defined = definition_of(names, name)
    node = defined.node if defined else None
    if node is None:
        return ""
    text = document.text[node.start : node.end].strip()
    if name.kind == "input":
        return f"**input.{name.name}**\n\n```yaml\n{text}\n```"
    return _step_text(name.name, node)


def _step_text(name: str, node: Node) -> str:
    if not isinstance(node, MappingNode):
        return f"**step {name}**"
    lines = [f"**step {name}**"]
    for key in ("description", *ACTIONS, "map", "if", "depends_on"):
        value = node.get(key)
        if value is None:
            continue
        if isinstance(value, ScalarNode):
            lines.append(value.text if key == "description" else f"{key}: `{value.text}`")
        elif isinstance(value, MappingNode):
            lines.append(f"{key}: " + ", ".join(f"`{word}`" for word in value.entries))
        else:
            lines.append(f"{key}: " + ", ".join(f"`{item.data()}`" for item in value.items))
    return "\n\n".join(lines)


def _flow_text(name: str, root: MappingNode) -> str:
    lines = [f"**flow {name}**"]
    description = root.get("description")
    if isinstance(description, ScalarNode):
        lines.append(description.text)
    fields = root.get("input")
    if isinstance(fields, MappingNode):
        lines += [f"- `{field}`: {_type(node)}" for field, (_, node) in fields.entries.items()]
    return "\n\n".join(lines)


def _type(field: Node) -> str:
    if not isinstance(field, MappingNode):
        return "any value"
    kind = field.get("type")
    text = kind.text if isinstance(kind, ScalarNode) else "any value"
    return f"{text}, with a default" if "default" in field.entries else text
