"""One of the two definitions that are compared, and the renaming of steps between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.compiler import canonical
from pgflow_yaml.language.expressions import write_expression, write_template
from pgflow_yaml.language.model import SECTIONS
from pgflow_yaml.language.source import MappingNode, ScalarNode, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.differences.change import Path
    from pgflow_yaml.language.model import Definition


class Side:
    """One of the two definitions, with the texts of its file."""

    def __init__(self, definition: Definition) -> None:
        self.inner = {inner.name: inner for inner in definition.inner}
        self.body = self._without_pins(definition.body)
        self.order = definition.order
        self._source = definition.source
        self._root: Any = None
        self._old_names: dict[str, str] = {}

    def rename(self, names: Mapping[str, str]) -> None:
        """Rename steps in the definition, so that only the rename itself is a difference."""
        if not names:
            return
        self._old_names = {new: old for old, new in names.items()}
        self.order = tuple(names.get(slug, slug) for slug in self.order)
        self.body = {
            **self.body,
            **{
                section: {names.get(slug, slug): _renamed_in(step, names) for slug, step in part}
                for section in SECTIONS
                if (part := self.body.get(section, {}).items())
            },
        }
        if "output" in self.body:
            self.body["output"] = _renamed_in(self.body["output"], names)

    def _without_pins(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body without the versions of inner flows, which are compared themselves."""
        if not self.inner:
            return dict(body)
        unpinned = {f"{inner.name}@{inner.version}": name for name, inner in self.inner.items()}
        parts: dict[str, Any] = {
            section: {
                slug: {**step, "flow": unpinned.get(step["flow"], step["flow"])}
                if "flow" in step
                else step
                for slug, step in body[section].items()
            }
            for section in SECTIONS
            if section in body
        }
        return {**body, **parts}

    def formula(self, path: Path, value: Any) -> str:
        """Return the text of an expression: from the file, else written from its tree."""
        if path[0] == "output" or "with" in path[2:3]:
            return write_template(value)
        if self._old_names:
            return write_expression(value)
        written = self._written(path)
        return write_expression(value) if written is None else written

    def _written(self, path: Path) -> str | None:
        """Return the text at a path of the file; None for expressions that come from `defaults`."""
        if self._root is None:
            self._root = parse(self._source).root or False
        node = self._root
        for key in path:
            node = node.get(key) if isinstance(node, MappingNode) else None
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            return None
        text = " ".join(node.text.split())
        whole = text.startswith("${{") and text.endswith("}}")
        return text.removeprefix("${{").removesuffix("}}").strip() if whole else text


def renamed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """Return the new names of steps by their old ones, where exactly one step is equal."""
    pairs: dict[str, str] = {}
    for section in SECTIONS:
        old, new = before.get(section, {}), after.get(section, {})
        removed = _by_content(old, set(old) - set(new))
        added = _by_content(new, set(new) - set(old))
        pairs |= {
            names[0]: added[content][0]
            for content, names in removed.items()
            if len(names) == 1 and len(added.get(content, ())) == 1
        }
    return pairs


def _by_content(steps: Mapping[str, Any], names: set[str]) -> dict[str, list[str]]:
    """Return step names by the content of the step, without its dependencies."""
    by_content: dict[str, list[str]] = {}
    for name in steps:
        if name in names:
            content = {key: value for key, value in steps[name].items() if key != "depends_on"}
            by_content.setdefault(canonical(content), []).append(name)
    return by_content


def _renamed_in(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with the new step names in its edges and in the paths of expressions."""
    if isinstance(value, list):
        if value[:1] == ["lit"]:
            return value
        if value[:1] == ["path"]:
            return ["path", _renamed_path(value[1], names)]
        return [_renamed_in(part, names) for part in value]
    if isinstance(value, dict):
        return {
            key: {names.get(slug, slug): edge for slug, edge in part.items()}
            if key == "depends_on"
            else _renamed_in(part, names)
            for key, part in value.items()
        }
    return value


def _renamed_path(path: str, names: Mapping[str, str]) -> str:
    root, *rest = path.split(".")
    if root == "steps" and rest:
        rest[0] = names.get(rest[0], rest[0])
    return ".".join([root, *rest])
