"""Messages of the schema layer: one with its fix for each way a shape can be wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pgflow_yaml.language import durations, sizes
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode
from pgflow_yaml.language.source.scalars import kind_of, quote
from pgflow_yaml.language.suggestions import closest, did_you_mean, slug
from pgflow_yaml.language.validation.findings import Path, Report, describe, quoted
from pgflow_yaml.language.validation.suggested_fixes import DOTTED, Fix, fix_by_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

UNITS = "a number of seconds, or a number with ms, s, m, h or d"
_TYPE_WORDS = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_SINGLE = "lower-case letters, digits and single underscores"
_PLAIN = "only letters, digits and underscores"
# For each kind of name: the refusal, the allowed characters, and the key before it in a fix.
_NAMES = {
    "flowName": ("is not a flow name", _SINGLE, "flow: "),
    "queue": ("is not a queue name", _SINGLE, "queue: "),
    "stepName": ("cannot name a step", _PLAIN, ""),
    "fieldName": ("cannot name an input field", _PLAIN, ""),
    "formFieldName": ("cannot name a field of a form", _PLAIN, ""),
    "eventName": ("cannot name an event", "only letters, digits, `_` and `.`", "event: "),
    "secretName": ("cannot name a secret", _PLAIN, "secret: "),
    "resourceName": ("cannot name a resource", _PLAIN, ""),
    "labelName": ("cannot name a label", "only letters, digits, `_`, `.`, `/`, `-`", ""),
}
_SECRET_READ = re.compile(r"secrets?\.([A-Za-z_]\w*)", re.ASCII)
_LOWER_CASE = ("flowName", "queue", "resourceName")
_KEPT_FOR_EVER = dict.fromkeys(("forever", "for ever", "never", "none", "always", "no"), "off")


class Message(NamedTuple):
    """Finding without its position."""

    code: str
    message: str
    fix: str | None = None
    label: str | None = None
    write: str | None = None
    """The text to write over the node, where that is the fix."""


def wrong_type(node: Node, schema: Mapping[str, Any], path: Path) -> Message:
    """Name the expected type, and suggest how to write the probable intention."""
    types = schema["type"]
    type_names = [types] if isinstance(types, str) else types
    if path[-1:] == ("until",):
        expected = "an expression"
    elif type_names == ["number", "string"]:
        expected = "a duration"
    elif path == ("retention",):
        expected = "a duration, `off` or a mapping"
    else:
        expected = " or ".join(_TYPE_WORDS[name] for name in type_names if name != "null")
    actual = kind_of(node.value if isinstance(node, ScalarNode) else node.data())
    if isinstance(node, ScalarNode) and actual == "a number":
        actual = f"the number {node.text}"
    empty = isinstance(node, ScalarNode) and not node.text and not node.style
    message = f"{_subject(path)} must be {expected}, {'but is empty' if empty else f'not {actual}'}"
    fix, write = fix_by_path(node, path) or _fix_by_type(node, type_names)
    return Message("PF103", message, fix, write=write)


def _fix_by_type(node: Node, type_names: Sequence[str]) -> Fix:
    text = node.text if isinstance(node, ScalarNode) else ""
    if "integer" in type_names and re.fullmatch(r"[0-9]+", text):
        return f"write {text} without quotes", text
    if type_names == ["string"] and isinstance(node, ScalarNode) and text:
        return f"put it in quotes: {quote(text)}", quote(text)
    return _words_by_type(text, type_names), None


def _words_by_type(text: str, type_names: Sequence[str]) -> str:
    if type_names == ["integer"]:
        return "write a whole number, such as 5"
    if type_names == ["boolean"]:
        return "write true or false; `yes` and `on` are texts in YAML 1.2"
    if type_names == ["number", "string"]:
        return f"write {UNITS}: 30s"
    if not text:
        return "remove the key, or give it a value"
    return f"write {' or '.join(_TYPE_WORDS[name] for name in type_names if name != 'null')}"


def wrong_choice(node: ScalarNode, choices: Sequence[str], path: Path) -> Message:
    """Refuse a value that is not one of the choices."""
    hint = did_you_mean(node.text, choices)
    message = f"{_subject(path)} cannot be {quoted(node.text)}{hint}"
    near = closest(node.text, choices)
    return Message("PF104", message, f"one of {', '.join(choices)}", write=near)


def wrong_text(node: ScalarNode, schema: Mapping[str, Any], path: Path, *, name: str) -> Message:
    """Explain what is wrong with a name, a duration or a handler path."""
    text = node.text
    limit = schema.get("maxLength", len(text))
    if len(text) > limit and re.search(schema.get("pattern", ""), text):
        return _too_long(text, limit, path, name=name)
    if name in _NAMES:
        return _wrong_name(text, name, limit)
    match name:
        case "childFlow":
            message = f"{_subject(path)} is {quoted(text)}, which names no flow"
            ours = slug(text.lower())
            if not ours or "@" in text:
                fix = "write NAME, or NAME@VERSION with its 12 hex digits"
                return Message("PF107", message, fix)
            return Message("PF107", message, f"write flow: {ours}", write=ours)
        case "flowGlob":
            message = f"{_subject(path)} is {quoted(text)}, which names no flow"
            return Message("PF107", message, "write NAME; `*` in it stands for any letters")
        case "decider":
            message = f"{_subject(path)} is {quoted(text)}, which names nobody"
            return Message("PF107", message, "write the name of a person or of a group")
        case "tolerate":
            message = f"{_subject(path)} is {quoted(text)}, which is not a share of the items"
            fix, write = _share_fix(text)
            return Message("PF106", message, fix, write=write)
        case "duration" | "memorySize":
            return _wrong_measure(text, path, name)
        case "retention" | "keptFor":
            delay = _KEPT_FOR_EVER.get(text.lower()) or durations.suggestion(text)
            message = f"{_subject(path)} is {quoted(text)}, which is neither a duration nor `off`"
            return Message("PF106", message, f"write {delay or '30d, or off'}", write=delay)
        case _:
            message = (
                f"{_subject(path)} is {quoted(text)}, which is not a dotted path to a function"
            )
            return _handler_fix(message, text)


def _wrong_measure(text: str, path: Path, name: str) -> Message:
    if name == "duration":
        meant, noun, example = durations.suggestion(text), "a duration", f"{UNITS}: 30s"
    else:
        meant, noun, example = sizes.suggestion(text), "a size with a unit", "8GB"
    message = f"{_subject(path)} is {quoted(text)}, which is not {noun}"
    return Message("PF106", message, f"write {meant or example}", write=meant)


def _too_long(text: str, limit: int, path: Path, *, name: str) -> Message:
    if name in _NAMES:
        problem = f"it has {len(text):,} characters, more than {limit}"
        return Message("PF107", f"{quoted(text)} {_NAMES[name][0]}: {problem}", "shorten it")
    message = f"{describe(path)} has {len(text):,} characters, more than {limit:,}"
    labels = path[:1] == ("labels",)
    return Message("PF109", message, f"shorten it{': labels are for finding runs' * labels}")


def _wrong_name(text: str, name: str, limit: int) -> Message:
    refusal, rule, key = _NAMES[name]
    if name == "secretName" and (read := _SECRET_READ.search(text)) is not None:
        message = "a webhook names its secret, without `${{ }}` and `secrets.`"
        return Message("PF107", message, f"write {key}{read[1]}", write=read[1])
    if text[:1].isdigit():
        rule = "it begins with a digit"
    elif text[:1] in ("-", ".", "/"):
        rule = f"it begins with `{text[0]}`"
    ours = slug(text.lower() if name in _LOWER_CASE else text)[:limit]
    fix = f"write {key}{ours}" if ours else "begin with a letter"
    if "-" in text and name in ("stepName", "fieldName") and ours:
        fix = f"write {ours}, here and in the expressions: there, `-` subtracts"
    return Message("PF107", f"{quoted(text)} {refusal}: {rule}", fix, write=ours or None)


def wrong_number(
    value: float, schema: Mapping[str, Any], path: Path, *, name: str
) -> Message | None:
    """Refuse a number that is out of range; None when it is in range."""
    # The time of a wait may be an expression as well, so the schema does not call it `duration`.
    is_time = name in ("duration", "retention", "keptFor") or path[-2:] == ("wait", "for")
    fix = None
    if value < schema.get("minimum", value):
        bound = f"at least {schema['minimum']}{' seconds' if is_time else ''}"
        fix = f"write {schema['minimum']} or more"
    elif value > schema.get("maximum", value):
        days = schema["maximum"] // 86_400
        bound = f"at most {days} days" if is_time else f"at most {schema['maximum']:,}"
        fix = f"write {days}d or less" if is_time else f"write {schema['maximum']} or less"
    elif "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        bound = f"more than {schema['exclusiveMinimum']}"
    else:
        return None
    if path[-1] in ("retry", "max_attempts") and value < 1:
        fix = "write 1 for a single try: attempts count the first one"
    return Message("PF109", f"{_subject(path)} must be {bound}, not {value}", fix)


def forbidden(node: ScalarNode, path: Path, *, name: str) -> Message:
    """Refuse a value that has the right form but cannot be used."""
    if name == "timeout":
        return Message(
            "PF109", f"{_subject(path)} must be more than 0", "write 60s, or leave it out"
        )
    message = f"a step cannot be named {quoted(node.text)}: expressions use that word"
    return Message("PF108", message, f"write {node.text}_step", write=f"{node.text}_step")


def empty(path: Path) -> Message:
    """Refuse an empty mapping or list."""
    if path == ("steps",):
        fix = "write `NAME: {handler: package.module.function}` under it"
        return Message("PF111", "a flow needs at least one step", fix)
    return Message("PF111", f"{_subject(path)} must not be empty", "remove it, or fill it")


def too_many(count: int, schema: Mapping[str, Any], path: Path) -> Message:
    """Refuse more entries than the limit (S-19)."""
    limit = schema["maxProperties"]
    return Message(
        "PF209", f"{describe(path)} has {count:,} entries, more than {limit:,}", "split the flow"
    )


def duplicate(text: str, path: Path) -> Message:
    """Refuse an item that a list has twice."""
    message = f"{quoted(text)} stands twice in {describe(path)}"
    return Message("PF103", message, "keep one of the two")


TO_WRITE = {
    "until": "write when to stop: `until: output.ready`",
    "flow": "write `flow: my_flow`: lower-case letters, digits and underscores",
    "steps": "write `steps:` and under it `NAME: {handler: package.module.function}`",
    "flows": 'write the flows to hear: `flows: [order]`, or `flows: "*"`',
    "limit": "write how many there may be: `limit: 1`",
    "secret": "name the secret of the sender's signatures: `secret: HOOK_SECRET`",
}
"""The fix for each key that a mapping requires: what to write."""


def report_missing(report: Report, node: MappingNode, key: str, path: Path) -> None:
    """Report a missing key that the mapping requires."""
    first = next(iter(node.entries.values()), None)
    message = f'{describe(path)} has no "{key}"'
    report.add("PF101", message, first[0] if first else node, fix=TO_WRITE[key])


class UnknownStep(NamedTuple):
    """Words about a name that no step has; `write` is the name that was meant, if one is near."""

    message: str
    fix: str
    write: str | None


def unknown_step(name: str, steps: Iterable[str]) -> UnknownStep | None:
    """Return what to say of a name that no step has; None if a step will have it when renamed."""
    names = [step if step.isidentifier() else slug(step) for step in steps]
    if name in names:
        return None
    similar = closest(name, names)
    message = f"there is no step {quoted(name)}"
    if similar:
        hint = f'; did you mean "{similar}"?'
        return UnknownStep(message + hint, f"write {similar}", similar)
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return UnknownStep(message, f"the steps of this flow are {shown}", None)


def _subject(path: Path) -> str:
    if path[-1:] == ("item",):
        return f"each item of {describe(path[:-1])}"
    return "the file" if path == () else describe(path)


def _share_fix(text: str) -> Fix:
    bare = text.strip().removesuffix("%").strip()
    try:
        share = float(bare)
    except ValueError:
        return 'write a number of items, or a share: "5%"', None
    if 0 <= share <= 100 and bare.replace(".", "", 1).isdecimal():
        if "%" in text:
            return f'write "{share:g}%"', f'"{share:g}%"'
        return f"write {bare} without quotes", bare
    return 'write at most "100%"', None


def _handler_fix(message: str, text: str) -> Message:
    bare = re.sub(r"\(.*\)$", "", text.strip())
    bare = (
        re.sub(r"\.py\b", "", bare)
        .replace(":", ".")
        .replace("/", ".")
        .replace("\\", ".")
        .strip(".")
    )
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", bare):
        return Message("PF206", message, f"name its module too: package.module.{bare}")
    if DOTTED.fullmatch(bare):
        return Message("PF206", message, f"write {bare}", write=bare)
    return Message("PF206", message, "write package.module.function")
