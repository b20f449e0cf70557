"""Fixes for a `name=value` that the command line refused."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.language.inputs import types_of
from pgflow_yaml.language.json_text import NotJson, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Json

_TRUE, _FALSE = ("true", "yes", "y", "on", "1"), ("false", "no", "n", "off", "0")
_KINDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_EXAMPLES = {
    "string": "text",
    "integer": "10",
    "number": "1.5",
    "array": '["a", "b"]',
    "object": '{"key": "value"}',
    "null": "null",
}


def fix_of(
    problem: Mapping[str, str], pairs: Sequence[str], spec: Mapping[str, Json]
) -> str | None:
    """Return what to write instead of a refused `name=value`, or for a missing one; None: unknown.

    `problem` has the keys path and message; `spec` is the input of the flow.
    """
    path, message = problem["path"], problem["message"]
    if path in pairs and "=" not in path:
        return _fix_of_word(path, spec)
    types = types_of(spec.get(path))
    if not types:
        return None
    if message.startswith("is required"):
        return f"write --input {_pair(path, types[0], '')}"
    text = next((text for pair in pairs if (text := _value(path, pair)) is not None), None)
    wrong = message.startswith((f"must be {' or '.join(types)}, not ", "cannot be taken"))
    if text is None or not wrong:
        return None
    return "write " + " or ".join(_pair(path, kind, text) for kind in types if kind != "null")


def _value(name: str, pair: str) -> str | None:
    return pair.removeprefix(f"{name}=") if pair.startswith(f"{name}=") else None


def _fix_of_word(word: str, spec: Mapping[str, Json]) -> str:
    if word in spec:
        return f"write {_pair(word, (*types_of(spec[word]), 'string')[0], '')}"
    if Path(word).is_file():
        return f"write @{word} to read the file"
    return "write name=value, a JSON object in single quotes, or @file"


def _pair(name: str, kind: str, text: str) -> str:
    """Return `name=value` with a value of this type that resembles the text."""
    if kind == "boolean":
        if text.lower() in (*_TRUE, *_FALSE):
            return f"{name}={'true' if text.lower() in _TRUE else 'false'}"
        return f"{name}=true or {name}=false"
    near = _near(kind, text)
    pair = f"{name}={shlex.quote(near or _EXAMPLES[kind])}"
    return pair if near or not text else f"{_KINDS[kind]}, such as {pair}"


def _near(kind: str, text: str) -> str | None:
    whole = r"[+-]?([0-9]+|[0-9]{1,3}([,_' .]?[0-9]{3})+)"
    if kind == "integer" and re.fullmatch(whole, text, re.ASCII):
        return str(int(re.sub(r"[^0-9-]", "", text)))
    if kind == "number" and re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text):
        return text.removeprefix("+").replace(",", ".")
    if kind == "array" and text:
        words = text.strip("[] ").split(",")
        return json.dumps([_item(word.strip(" \"'")) for word in words], ensure_ascii=False)
    return None


def _item(word: str) -> Json:
    try:
        value = read_json(word)
    except NotJson:
        return word
    return word if isinstance(value, dict | list) else value
