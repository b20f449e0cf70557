"""Fields of a form by the schemas of an input, and the input that somebody typed into them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pgflow_yaml.language.inputs import types_of
from pgflow_yaml.language.json_text import NotJson, read_json
from pgflow_yaml.language.source import MappingNode, parse
from pgflow_yaml.language.validation.positions import flow_node
from pgflow_yaml.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.inputs import Problem
    from pgflow_yaml.language.model import Json

Kind: TypeAlias = Literal["choice", "text", "long", "integer", "number", "json"]
PREFIX, BLANK, WHOLE = "input.", "blank.", "json"
"""The names of the fields: of an input, of `an empty text is meant`, of all as one JSON text."""
_LONG = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field as a form shows it; `text` is what stands in it."""

    name: str
    kind: Kind
    text: str
    about: str
    """The types, and the default or that there is none."""
    description: str
    required: bool
    default: str
    options: tuple[tuple[str, str], ...]
    """The JSON of each choice and its words."""
    blank: bool | None
    """The field holds an empty text, which is not the same as nothing; None: it never did."""
    problem: str


def fields(
    spec: Mapping[str, Json],
    values: Mapping[str, Json],
    *,
    texts: Mapping[str, tuple[str, str]],
    form: Mapping[str, str],
    problems: Mapping[str, str],
) -> list[Field]:
    """Return the fields of a form in the order of `texts`, then by name.

    They hold what was typed (`form`), else the `values`. `texts` has title and description.
    """
    names = [name for name in texts if name in spec]
    names += [name for name in spec if name not in texts]
    found = []
    for name in names:
        schema: Any = spec[name] if isinstance(spec[name], dict) else {}
        value = values.get(name)
        kind = _kind(schema, value)
        typed = form.get(PREFIX + name)
        given = name in values
        found.append(
            Field(
                name=name,
                kind=kind,
                text=typed if typed is not None else _text(kind, value) if given else "",
                about=" or ".join(types_of(schema))
                or ("choice" if "enum" in schema else "any value"),
                description=texts.get(name, ("", ""))[1],
                required="default" not in schema,
                default=_json(schema["default"]) if "default" in schema else "",
                options=_options(schema),
                blank=_blank(name, value, form),
                problem=problems.get(name, ""),
            )
        )
    return found


def _blank(name: str, value: Json, form: Mapping[str, str]) -> bool | None:
    ticked = form.get(BLANK + name) == "1"
    if value != "" and not ticked:
        return None
    return ticked if form else True


def read(spec: Mapping[str, Json], form: Mapping[str, str]) -> tuple[Json, list[Problem]]:
    """Return the input that a form holds, and problems; its values are not checked yet.

    A field that is left empty is not given, unless an empty text is meant.
    """
    if whole := form.get(WHOLE, "").strip():
        try:
            return read_json(whole), []
        except NotJson as error:
            return {}, [{"path": "", "message": f"is not JSON: {error}"}]
    value: dict[str, Json] = {}
    problems: list[Problem] = []
    for name, schema in spec.items():
        text = form.get(PREFIX + name, "").replace("\r\n", "\n")
        kind = _kind(schema if isinstance(schema, dict) else {}, text)
        if kind in ("text", "long"):
            if text or form.get(BLANK + name) == "1":
                value[name] = text
        elif text.strip():
            try:
                value[name] = read_json(text)
            except NotJson as error:
                if kind in ("integer", "number"):
                    value[name] = text  # the check says what it must be
                else:
                    problems.append({"path": name, "message": f"is not JSON: {error}"})
    return value, problems


def written(source: str, flow: str, key: str = "input") -> dict[str, tuple[str, str]]:
    """Return title and description of each field in the order of the text of a flow.

    A compiled definition has neither.
    """
    root = flow_node(parse(source).root, flow)
    block = root.get(key) if isinstance(root, MappingNode) else None
    if not isinstance(block, MappingNode):
        return {}
    found = {}
    for name, (_, node) in block.entries.items():
        data: Any = node.data()
        about = data if isinstance(data, dict) else {}
        found[name] = (str(about.get("title") or ""), str(about.get("description") or ""))
    return found


def _kind(schema: Mapping[str, Any], value: object) -> Kind:
    """Return the kind of a field: what is not one plain type is written as JSON."""
    if isinstance(schema.get("enum"), list):
        return "choice"
    match types_of(schema):
        case ["boolean"]:
            return "choice"
        case ["string"]:
            long = schema.get("maxLength", 0) > _LONG or (
                isinstance(value, str) and ("\n" in value or len(value) > _LONG)
            )
            return "long" if long else "text"
        case ["integer"]:
            return "integer"
        case ["number"]:
            return "number"
    return "json"


def _options(schema: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    options = schema.get("enum")
    if not isinstance(options, list):
        options = [True, False] if types_of(schema) == ["boolean"] else []
    return tuple(
        (_json(option), option if isinstance(option, str) else _json(option)) for option in options
    )


def _text(kind: Kind, value: Json) -> str:
    if kind in ("text", "long") and isinstance(value, str):
        return value
    return json_text(value) if kind == "json" else _json(value)


def json_text(value: Json) -> str:
    """Return a value as JSON for a form, which may hold no control character."""
    indent = 2 if isinstance(value, dict | list) else None
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # "#" has a way to be written, too: `clean` parts two of them from a bracket.
    return text if clean(text) == text else json.dumps(value, indent=indent).replace("#", "\\u0023")


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
