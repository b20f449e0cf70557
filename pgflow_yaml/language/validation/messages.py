"""Messages of the schema layer: one with its fix for each way a shape can be wrong."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from pgflow_yaml.language import durations
from pgflow_yaml.language.source import MappingNode, Node, ScalarNode
from pgflow_yaml.language.source.scalars import kind_of
from pgflow_yaml.language.suggestions import closest, did_you_mean
from pgflow_yaml.language.validation.findings import Path, Report, describe, quoted
from pgflow_yaml.language.validation.suggested_fixes import DOTTED, fix_by_path

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
    "eventName": ("cannot name an event", "only letters, digits, `_` and `.`", "event: "),
    "labelName": ("cannot name a label", "only letters, digits, `_`, `.`, `/`, `-`", ""),
}
_LOWER_CASE = ("flowName", "queue")


class Message(NamedTuple):
    """Finding without its position."""

    code: str
    message: str
    fix: str | None = None
    label: str | None = None


def wrong_type(node: Node, schema: Mapping[str, Any], path: Path) -> Message:
    """Name the expected type, and suggest how to write the probable intention."""
    types = schema["type"]
    type_names = [types] if isinstance(types, str) else types
    if path[-1:] == ("until",):
        expected = "an expression"
    elif type_names == ["number", "string"]:
        expected = "a duration"
    else:
        expected = " or ".join(_TYPE_WORDS[name] for name in type_names if name != "null")
    actual = kind_of(node.value if isinstance(node, ScalarNode) else node.data())
    if isinstance(node, ScalarNode) and actual == "a number":
        actual = f"the number {node.text}"
    empty = isinstance(node, ScalarNode) and not node.text and not node.style
    message = f"{_subject(path)} must be {expected}, {'but is empty' if empty else f'not {actual}'}"
    return Message("PF103", message, fix_by_path(node, path) or _fix_by_type(node, type_names))


def _fix_by_type(node: Node, type_names: Sequence[str]) -> str:
    text = node.text if isinstance(node, ScalarNode) else ""
    if "integer" in type_names and re.fullmatch(r"[0-9]+", text):
        return f"write {text} without quotes"
    if type_names == ["integer"]:
        return "write a whole number, such as 5"
    if type_names == ["boolean"]:
        return "write true or false; `yes` and `on` are texts in YAML 1.2"
    if type_names == ["number", "string"]:
        return f"write {UNITS}: 30s"
    if type_names == ["string"] and isinstance(node, ScalarNode) and text:
        return f'put it in quotes: "{text}"'
    if not text:
        return "remove the key, or give it a value"
    return f"write {' or '.join(_TYPE_WORDS[name] for name in type_names if name != 'null')}"


def wrong_choice(node: ScalarNode, choices: Sequence[str], path: Path) -> Message:
    """Refuse a value that is not one of the choices."""
    hint = did_you_mean(node.text, choices)
    message = f"{_subject(path)} cannot be {quoted(node.text)}{hint}"
    return Message("PF104", message, f"one of {', '.join(choices)}")


def wrong_text(node: ScalarNode, schema: Mapping[str, Any], path: Path, *, name: str) -> Message:
    """Explain what is wrong with a name, a duration or a handler path."""
    text = node.text
    if name in _NAMES:
        return _wrong_name(text, name, schema["maxLength"])
    match name:
        case "childFlow":
            message = f"{_subject(path)} is {quoted(text)}, which names no flow"
            return Message("PF107", message, "write NAME, or NAME@VERSION with its 12 hex digits")
        case "tolerate":
            message = f"{_subject(path)} is {quoted(text)}, which is not a share of the items"
            return Message("PF106", message, _share_fix(text))
        case "duration":
            fix = durations.suggestion(text)
            message = f"{_subject(path)} is {quoted(text)}, which is not a duration"
            return Message("PF106", message, f"write {fix}" if fix else f"write {UNITS}: 30s")
        case "handler":
            message = (
                f"{_subject(path)} is {quoted(text)}, which is not a dotted path to a function"
            )
            return Message("PF206", message, _handler_fix(text))
        case _:
            limit = schema["maxLength"]
            message = f"{describe(path)} has {len(text):,} characters, more than {limit:,}"
            return Message("PF109", message, "shorten it: labels are for finding runs")


def _wrong_name(text: str, name: str, limit: int) -> Message:
    refusal, rule, key = _NAMES[name]
    slug = _slug(text.lower() if name in _LOWER_CASE else text)[:limit]
    label = f"at most {limit} characters" if len(text) > limit else None
    fix = f"write {key}{slug}" if slug else "begin with a letter"
    return Message("PF107", f"{quoted(text)} {refusal}: {rule}", fix, label)


def wrong_number(
    value: float, schema: Mapping[str, Any], path: Path, *, name: str
) -> Message | None:
    """Refuse a number that is out of range; None when it is in range."""
    # The time of a wait may be an expression as well, so the schema does not call it `duration`.
    is_time = name == "duration" or path[-2:] == ("wait", "for")
    fix = None
    if value < schema.get("minimum", value):
        bound = f"at least {schema['minimum']}{' seconds' if is_time else ''}"
        fix = f"write {schema['minimum']} or more"
    elif value > schema.get("maximum", value):
        bound = "at most 365 days" if is_time else f"at most {schema['maximum']:,}"
        fix = "write 365d or less" if is_time else f"write {schema['maximum']} or less"
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
    return Message("PF108", message, f"write {node.text}_step")


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


def report_missing(report: Report, node: MappingNode, key: str, path: Path) -> None:
    """Report a missing key that the mapping requires."""
    fix = {
        "until": "write when to stop: `until: output.ready`",
        "flow": "write `flow: my_flow`: lower-case letters, digits and underscores",
        "steps": "write `steps:` and under it `NAME: {handler: package.module.function}`",
    }[key]
    first = next(iter(node.entries.values()), None)
    message = f'{describe(path)} has no "{key}"'
    report.add("PF101", message, first[0] if first else node, fix=fix)


def nearest_step(name: str, steps: Iterable[str]) -> str:
    """Suggest a fix for the name of a step that does not exist."""
    similar = closest(name, steps)
    if similar:
        return f"write {similar}"
    names = list(steps)
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return f"the steps of this flow are {shown}"


def _subject(path: Path) -> str:
    if path[-1:] == ("item",):
        return f"each item of {describe(path[:-1])}"
    return "the file" if path == () else describe(path)


def _slug(text: str) -> str:
    text = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    text = "".join(character for character in text if not unicodedata.combining(character))
    slug = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]+", "_", text)).strip("_")
    return f"_{slug}" if slug[:1].isdigit() else slug


def _share_fix(text: str) -> str:
    bare = text.strip().removesuffix("%").strip()
    try:
        share = float(bare)
    except ValueError:
        return 'write a number of items, or a share: "5%"'
    if 0 <= share <= 100 and bare.replace(".", "", 1).isdecimal():
        return f'write "{share:g}%"' if "%" in text else f"write {bare} without quotes"
    return 'write at most "100%"'


def _handler_fix(text: str) -> str:
    bare = re.sub(r"\(.*\)$", "", text.strip())
    bare = (
        re.sub(r"\.py\b", "", bare)
        .replace(":", ".")
        .replace("/", ".")
        .replace("\\", ".")
        .strip(".")
    )
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", bare):
        return f"name its module too: package.module.{bare}"
    if DOTTED.fullmatch(bare):
        return f"write {bare}"
    return "write package.module.function"
