"""Keys that the language does not have: typos, keys of other tools, keys of later releases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.language.source import Node, ScalarNode, SequenceNode
from pgflow_yaml.language.suggestions import closest
from pgflow_yaml.language.validation import vocabulary
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
    key, value = entry
    level = _level(path)
    word = key.text
    today = vocabulary.later(level, word)
    if today is not None:
        report.add("PF110", f'"{word}" in {describe(path)} is not supported yet', key, fix=today)
        return word, False
    foreign = vocabulary.foreign(level, word)
    if foreign is not None:
        ours, fix = foreign
        return _report_foreign(report, key, path, (ours, _rewritten(report, ours, value) or fix))
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
    hook = vocabulary.hook_advice(level, word)
    if hook is not None:
        equivalent, fix = hook
        report.add("PF105", f"step key {quoted(word)} is {equivalent} here", key, fix=fix)
        return None, False
    similar = closest(word, [*known, *vocabulary.later_keys(level)])
    hint = f'; did you mean "{similar}"?' if similar else ""
    fix = f"write {similar}" if similar else f"known keys: {', '.join(known)}"
    if similar is not None and vocabulary.later(level, similar) is not None:
        fix = f"{similar} is not supported yet: {vocabulary.later(level, similar)}"
    report.add("PF102", f"unknown key {quoted(word)} in {describe(path)}{hint}", key, fix=fix)
    return similar, similar in known


def _report_foreign(
    report: Report, key: ScalarNode, path: Path, foreign: tuple[str, str]
) -> tuple[str, bool]:
    ours, fix = foreign
    level = _level(path)
    same_shape = vocabulary.has_our_shape(level, key.text)
    word = quoted(key.text)
    today = vocabulary.later(level, ours)
    if today is not None:
        message = f'{level} key {word} is called "{ours}" here, and is not supported yet'
        report.add("PF110", message, key, fix=today)
    else:
        fix = f"write `{ours}:`" if same_shape else fix
        report.add("PF105", f'{level} key {word} is called "{ours}" here', key, fix=fix)
    return ours, same_shape


def _level(path: Path) -> vocabulary.Level:
    match path:
        case ("input" | "input_schema", *_):
            return "field"
        case ("defaults",):
            return "defaults"
        case ("steps" | "finally", _):
            return "step"
        case ("steps" | "finally", _, "wait"):
            return "wait"
        case ("steps" | "finally", _, "repeat"):
            return "repeat"
        case (*_, "retry"):
            return "retry"
        case _:
            return "flow"


def _rewritten(report: Report, ours: str, value: Node) -> str | None:
    """Suggest our key with the value as it is, where the value fits; else None."""
    raw = report.document.text[value.start : value.end]
    if len(raw) > 60 or "\n" in raw:
        return None
    if ours == "flow" and _WORD.fullmatch(raw) and raw == raw.lower():
        return f"write `flow: {raw}`"
    if ours == "handler" and DOTTED.fullmatch(raw):
        return f"write `handler: {raw}`"
    if ours == "depends_on" and isinstance(value, SequenceNode) and raw.startswith("["):
        return f"write `depends_on: {raw}`"
    if ours == "depends_on" and isinstance(value, ScalarNode) and _WORD.fullmatch(raw):
        return f"write `depends_on: [{raw}]`"
    return None
