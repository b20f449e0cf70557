"""A difference between two versions, with its values as text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pgflow_yaml.language import durations, sizes
from pgflow_yaml.language.expressions import write_expression
from pgflow_yaml.language.model import ACTIONS, SECTIONS
from pgflow_yaml.language.resources import MEMORY
from pgflow_yaml.language.waits import wait_phrase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json

Kind = Literal["added", "removed", "renamed", "changed"]
Path = tuple[str, ...]

MISSING: Final = object()
"""The value of a key that is missing; null is a value of its own."""
_DURATIONS = frozenset(
    {"timeout", "base_delay", "max_delay", "start_delay", "every", "for", "remind"}
)
# The meaning of a key that is left out of a definition.
_ABSENT = {
    "fail_fast": "true",
    "handles": "true",
    "tolerate": "0",
    "queue": "the flow's own",
    "if": "always",
    "with": "the merged outputs",
    "output": "the outputs of the leaf steps",
}
_MOST_SHOWN = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Difference: `text` is the whole sentence, `before` and `after` the texts of the values."""

    kind: Kind
    path: str
    text: str
    label: str
    before: str | None = None
    after: str | None = None


def about_field(field: Any) -> str:
    """Format an input field: its types, and its default or that it is required."""
    kind = field.get("type", "any value") if isinstance(field, dict) else "any value"
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if isinstance(field, dict) and "default" in field:
        return f"{words}, default {cut(_json(field['default']))}"
    return f"{words}, required"


def about_step(step: Mapping[str, Any]) -> str:
    """Format a step: its action and its dependencies."""
    action = next(key for key in ACTIONS if key in step)
    target = step[action] if action != "wait" else wait_phrase(step["wait"])
    after = ", ".join(step.get("depends_on", {}))
    return f"{action} {target}" + (f", after {after}" if after else "")


def shown(path: Path, value: Any) -> str:
    """Format a plain value of a definition, or the meaning of a missing one."""
    key = path[-1]
    if value is MISSING:
        return "none" if path[0] == "input" else _ABSENT.get(key, "none")
    if path[0] in {"input", "input_schema"}:
        return _json(value)
    if value is None:
        return "none"
    if path[-2:] == ("resources", MEMORY) and isinstance(value, int | float):
        return sizes.as_text(value)
    if key in _DURATIONS and isinstance(value, int) and not isinstance(value, bool):
        return durations.as_text(value)
    if isinstance(value, dict):
        return _parts(path, value)
    return value if isinstance(value, str) else _json(value)


def has_keys(value: Any) -> bool:
    """Return True for a value that is compared key by key; `5%` is a single value."""
    return isinstance(value, dict) and value.keys() != {"percent"}


def is_formula(value: Any) -> bool:
    """Return True for a compiled expression or template."""
    return isinstance(value, dict) and value.keys() == {"ast", "paths"}


def _parts(path: Path, value: dict[str, Any]) -> str:
    """Format a value of several keys, such as `repeat`."""
    if not has_keys(value):
        return f"{value['percent']:g}%"
    return ", ".join(
        f"{key} {write_expression(part['ast']) if is_formula(part) else shown((*path, key), part)}"
        for key, part in value.items()
    )


def changed(path: Path, label: str, pair: tuple[str, str]) -> Change:
    """Return the change of one value to another."""
    before, after = pair
    text = f"{label} {cut(before)} → {cut(after)}"
    return Change(
        kind="changed", path=dotted(path), text=text, label=label, before=before, after=after
    )


def one(kind: Kind, path: Path, text: str, label: str) -> Change:
    """Return the change for a key that was added or removed as a whole."""
    return Change(kind=kind, path=dotted(path), text=text, label=label)


def dotted(path: Path) -> str:
    """Return a path as text: `steps.charge.retry`."""
    return ".".join(path)


def key_of(path: Path) -> str:
    """Return the name of a key within its subject: without `steps.charge` or `input.plan`."""
    return dotted(path if len(path) == 1 else path[2:] if path[0] in {"input", *SECTIONS} else path)


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def cut(text: str) -> str:
    """Return a text, shortened when it is long."""
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def named(section: str, slug: str) -> str:
    """Return the name of a step with its section."""
    return f"step {slug}" if section == "steps" else f"finally step {slug}"


def rename(section: str, old: str, new: str) -> Change:
    """Return the change of a step that was renamed and is otherwise equal."""
    label = named(section, old)
    return Change(
        kind="renamed",
        path=dotted((section, new)),
        text=f"{label}: renamed to {new}",
        label=label,
        before=old,
        after=new,
    )
