"""Keys that the language does not have: typos, keys of other tools, keys of later releases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Replacement
from pgflow_yaml.language import vocabulary
from pgflow_yaml.language.source import Node, ScalarNode, SequenceNode
from pgflow_yaml.language.suggestions import closest
from pgflow_yaml.language.validation.findings import Path, Report, describe, quoted
from pgflow_yaml.language.validation.suggested_fixes import DOTTED

if TYPE_CHECKING:
    from collections.abc import Collection

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP_KEYS = ("handler", "depends_on", "with", "if", "map", "timeout", "retry")


def report_unknown_key(
    report: Report, entry: tuple[ScalarNode, Node], path: Path, known: Collection[str]
) -> tuple[str | None, bool]:
    """Report a key; return our key for it, and true if its value has the same shape."""
    key, _ = entry
    level = _level(path)
    word = key.text
    today = vocabulary.later(level, word)
    if today is not None:
        report.add("PF110", f'"{word}" in {describe(path)} is not supported yet', key, fix=today)
        return word, False
    foreign = vocabulary.foreign(level, word)
    if foreign is not None:
        return _report_foreign(report, entry, path, foreign)
    advice = vocabulary.field_advice(word) if level == "field" else None
    if advice is not None:
        message = f"{quoted(word)} is not supported in {describe(path)}"
        report.add("PF120", message, key, fix=advice)
        return None, False
    if level == "flow" and word in _STEP_KEYS:
        message = f'"{word}" belongs to a step, not to the flow'
        fix = f"write it under a step: `steps: {{NAME: {{{word}: …}}}}`"
        report.add("PF105", message, key, fix=fix)
        return None, False
    elsewhere = vocabulary.elsewhere(level, word)
    if elsewhere is not None:
        equivalent, fix = elsewhere
        report.add("PF105", f"{level} key {quoted(word)} is {equivalent} here", key, fix=fix)
        return None, False
    similar = closest(word, [*known, *vocabulary.later_keys(level)])
    hint = f'; did you mean "{similar}"?' if similar else ""
    fix = f"write {similar}" if similar else f"known keys: {', '.join(known)}"
    if similar is not None and vocabulary.later(level, similar) is not None:
        fix = f"{similar} is not supported yet: {vocabulary.later(level, similar)}"
    message = f"unknown key {quoted(word)} in {describe(path)}{hint}"
    report.add("PF102", message, key, fix=fix, write=similar if similar in known else None)
    return similar, similar in known


def _report_foreign(
    report: Report, entry: tuple[ScalarNode, Node], path: Path, foreign: tuple[str, str]
) -> tuple[str, bool]:
    key, value = entry
    ours, fix = foreign
    level = _level(path)
    same_shape = vocabulary.has_our_shape(level, key.text)
    word = quoted(key.text)
    today = vocabulary.later(level, ours)
    if today is not None:
        message = f'{level} key {word} is called "{ours}" here, and is not supported yet'
        report.add("PF110", message, key, fix=today)
    else:
        message = f'{level} key {word} is called "{ours}" here'
        rewritten = _rewritten(report, ours, value)
        write: Replacement | str | None = ours if same_shape else None
        if same_shape:
            fix = f"write `{ours}:`"
        elif rewritten is not None:
            fix = f"write `{rewritten}`"
            span = report.document.lines.span(key.start, value.end)
            write = Replacement(span=span, text=rewritten)
        report.add("PF105", message, key, fix=fix, write=write)
    return ours, same_shape


def _level(path: Path) -> vocabulary.Level:
    match path:
        case ("input" | "input_schema", *_) | ("steps" | "finally", _, "wait", "form", *_):
            return "field"
        case ("defaults",):
            return "defaults"
        case ("steps" | "finally", _):
            return "step"
        case ("steps" | "finally", _, "wait"):
            return "wait"
        case ("steps" | "finally", _, "repeat"):
            return "repeat"
        case (*_, "concurrency" | "rate_limit" as key):
            return key
        case ("schedule", *_):
            return "schedule"
        case ("webhook",):
            return "webhook"
        case (*_, "retry"):
            return "retry"
        case _:
            return "flow"


def _rewritten(report: Report, ours: str, value: Node) -> str | None:
    """Return our key with the value as it is, where the value fits; else None."""
    raw = report.document.text[value.start : value.end]
    if len(raw) > 60 or "\n" in raw:
        return None
    if ours == "flow" and _WORD.fullmatch(raw) and raw == raw.lower():
        return f"flow: {raw}"
    if ours == "handler" and DOTTED.fullmatch(raw):
        return f"handler: {raw}"
    if ours == "depends_on" and isinstance(value, SequenceNode) and raw.startswith("["):
        return f"depends_on: {raw}"
    if ours == "depends_on" and isinstance(value, ScalarNode) and _WORD.fullmatch(raw):
        return f"depends_on: [{raw}]"
    return None
