"""Differences in meaning between two versions of a flow, in words.

Comments, descriptions and order are not compared, as they do not change the version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.compiler import canonical
from pgflow_yaml.language.differences.change import (
    MISSING,
    Change,
    Path,
    about_field,
    about_step,
    changed,
    cut,
    dotted,
    has_keys,
    is_formula,
    key_of,
    named,
    one,
    rename,
    shown,
)
from pgflow_yaml.language.differences.sides import Side, renamed
from pgflow_yaml.language.expressions import write_template
from pgflow_yaml.language.graph import as_listed
from pgflow_yaml.language.model import ACTIONS, SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgflow_yaml.language.model import Definition

__all__ = ["Change", "diff"]

_FIRST = [*ACTIONS, "with", "if", "when_unmet", "map", "initial_tasks", "retry", "timeout"]


def diff(before: Definition, after: Definition) -> list[Change]:
    """Return the differences; the list is empty if and only if both are the same version."""
    if canonical(before.body) == canonical(after.body):
        return []
    old, new = Side(before), Side(after)
    names = renamed(old.body, new.body)
    changes = [
        rename(section, name, names[name])
        for section in SECTIONS
        for name in old.body.get(section, {})
        if name in names
    ]
    old.rename(names)
    changes += _flow_changes(old, new)
    changes += _fields_changes(old, new)
    for section in SECTIONS:
        changes += _steps_changes(old, new, section)
    changes += _inner_changes(old, new)
    if not changes:
        text = "only the order of keys differs, under `with` or in an expression"
        changes.append(Change(kind="changed", path="", text=text, label=text))
    return changes


def _inner_changes(old: Side, new: Side) -> Iterator[Change]:
    """Yield the differences between the flows that the same step holds on both sides."""
    for section in SECTIONS:
        for slug, step in new.body.get(section, {}).items():
            before = old.inner.get(old.body.get(section, {}).get(slug, {}).get("flow"))
            after = new.inner.get(step.get("flow"))
            if before is None or after is None:
                continue
            subject = named(section, slug)
            for change in diff(before, after):
                yield replace(
                    change,
                    path=f"{section}.{slug}.flow.{change.path}".removesuffix("."),
                    text=f"{subject}: {change.text}",
                    label=f"{subject}: {change.label}",
                )


def _flow_changes(old: Side, new: Side) -> Iterator[Change]:
    if old.body["flow"] != new.body["flow"]:
        yield changed(("flow",), "flow: name", (old.body["flow"], new.body["flow"]))
    for key, pair in _pairs(old.body, new.body).items():
        if key not in {"flow", "input", *SECTIONS}:
            yield from _values((old, new), (key,), "flow", pair)


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the values of two mappings as pairs by key, in the order of the newer mapping."""
    keys = {**after, **before}
    return {key: (before.get(key, MISSING), after.get(key, MISSING)) for key in keys}


def _fields_changes(old: Side, new: Side) -> Iterator[Change]:
    # with `after` the compiler writes the input
    inputs = [{} if "after" in side.body else side.body.get("input", {}) for side in (old, new)]
    declared = tuple("input" in side.body and "after" not in side.body for side in (old, new))
    pairs = _pairs(*inputs)
    for name, (before, after) in pairs.items():
        path, subject = ("input", name), f"input {name}"
        if before is MISSING:
            text = f"{subject}: added, {about_field(after)}"
            yield one("added", path, text, subject)
        elif after is MISSING:
            yield one("removed", path, f"{subject}: removed", subject)
        else:
            yield from _values((old, new), path, subject, (before, after))
    if declared == (True, False) and not pairs:
        yield one("removed", ("input",), "input: no longer declared", "input")
    if declared == (False, True) and not pairs:
        yield one("added", ("input",), "input: declared, without fields", "input")


def _steps_changes(old: Side, new: Side, section: str) -> Iterator[Change]:
    pairs = _pairs(old.body.get(section, {}), new.body.get(section, {}))
    for slug in as_listed(pairs, dict.fromkeys([*new.order, *old.order])):
        before, after = pairs[slug]
        path, subject = (section, slug), named(section, slug)
        if before is MISSING:
            text = f"{subject}: added, {about_step(after)}"
            yield one("added", path, text, subject)
        elif after is MISSING:
            yield one("removed", path, f"{subject}: removed", subject)
        elif canonical(before) != canonical(after):
            yield from _step_changes((old, new), path, subject)


def _step_changes(sides: tuple[Side, Side], path: Path, subject: str) -> Iterator[Change]:
    before, after = (side.body[path[0]][path[1]] for side in sides)
    actions = [next(key for key in ACTIONS if key in step) for step in (before, after)]
    if actions[0] != actions[1]:
        pair = (about_step({**before, "depends_on": {}}), about_step({**after, "depends_on": {}}))
        yield changed(path, f"{subject}:", pair)
    yield from _edges(before.get("depends_on", {}), after.get("depends_on", {}), path, subject)
    compared = {"depends_on", *(ACTIONS if actions[0] != actions[1] else ())}
    pairs = _pairs(before, after)
    for key in sorted(pairs, key=_rank):
        if key not in compared:
            yield from _values(sides, (*path, key), subject, pairs[key])


def _rank(key: str) -> tuple[int, str]:
    """Return the sort key of a step key: action, arguments, condition, repetition, others."""
    return (_FIRST.index(key) if key in _FIRST else len(_FIRST), key)


def _edges(before: Any, after: Any, path: Path, subject: str) -> Iterator[Change]:
    for slug, (old, new) in _pairs(before, after).items():
        edge_path = (*path, "depends_on", slug)
        label = f"{subject}: depends_on {slug}"
        if old is MISSING:
            outcome = "" if new == "success" else f" ({new})"
            yield one("added", edge_path, f"{subject}: now depends on {slug}{outcome}", label)
        elif new is MISSING:
            yield one("removed", edge_path, f"{subject}: no longer depends on {slug}", label)
        elif old != new:
            yield changed(edge_path, label, (old, new))


def _values(
    sides: tuple[Side, Side], path: Path, subject: str, pair: tuple[Any, Any]
) -> Iterator[Change]:
    """Yield the differences of two values of one key, as deep as both have keys."""
    before, after = pair
    if MISSING not in pair and canonical(before) == canonical(after):
        return
    formulas = [is_formula(value) for value in pair]
    if all(formulas):
        yield from _formulas(sides, path, subject, (before["ast"], after["ast"]))
    elif not any(formulas) and all(map(has_keys, pair)):
        for key, both in _pairs(before, after).items():
            yield from _values(sides, (*path, key), subject, both)
    else:
        old, new = (
            side.formula(path, value["ast"]) if formula else shown(path, value)
            for side, value, formula in zip(sides, pair, formulas, strict=True)
        )
        yield changed(path, f"{subject}: {key_of(path)}", (old, new))


def _formulas(
    sides: tuple[Side, Side], path: Path, subject: str, pair: tuple[Any, Any]
) -> Iterator[Change]:
    """Yield the differences of two trees; mappings are compared key by key."""
    before, after = pair
    if canonical(before) == canonical(after):
        return
    if before[0] == after[0] == "dict":
        both = _pairs(*(dict(zip(tree[1::2], tree[2::2], strict=True)) for tree in pair))
        for key, (old, new) in both.items():
            key_path = (*path, key)
            if old is MISSING or new is MISSING:
                yield _entry(key_path, subject, old, new)
            else:
                yield from _formulas(sides, key_path, subject, (old, new))
        return
    old_text, new_text = (side.formula(path, tree) for side, tree in zip(sides, pair, strict=True))
    yield changed(path, f"{subject}: {key_of(path)}", (old_text, new_text))


def _entry(path: Path, subject: str, old: Any, new: Any) -> Change:
    """Return the change for a key that was added to or removed from `with` or `output`."""
    label = f"{subject}: {key_of(path)}"
    if old is MISSING:
        value = write_template(new)
        text = f"{label} added: {cut(value)}"
        return Change(kind="added", path=dotted(path), text=text, label=label, after=value)
    value = write_template(old)
    text = f"{label} removed"
    return Change(kind="removed", path=dotted(path), text=text, label=label, before=value)
