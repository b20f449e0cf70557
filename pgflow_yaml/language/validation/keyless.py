"""Paths that go on behind a text or a number, which has no keys: they would always be null."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.inputs import type_name, types_of
from pgflow_yaml.language.validation.comparisons import schema_of
from pgflow_yaml.language.vocabulary import foreign_function

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Json

_TEXT, _NUMBER, _BOOLEAN = "a text", "a number", "true or false"
_NOUNS = {"string": _TEXT, "integer": _NUMBER, "number": _NUMBER, "boolean": _BOOLEAN}


def keyless(
    words: Sequence[str], fields: Mapping[str, Json] | None
) -> tuple[int, str, str, str] | None:
    """Return words to mark, message, fix and the path to write, if a path has too many keys."""
    for count in range(1, len(words)):
        noun = _noun(words[:count], fields)
        if noun is not None:
            path = ".".join(words[:count])
            ours = f"len({path})" if _asks_for_length(words[count], noun) else path
            return count + 1, f"`{path}` is {noun}, without keys", f"write {ours}", ours
    return None


def _asks_for_length(key: str, noun: str) -> bool:
    return noun == _TEXT and foreign_function(key) == "len"


def _noun(words: Sequence[str], fields: Mapping[str, Json] | None) -> str | None:
    """Return what the value of a path is if it is never an object or a list."""
    match words:
        case ["index" | "iteration" | "attempt"] | ["run", "parent", "index"]:
            return _NUMBER
        case ["run", "id" | "flow" | "version" | "started_at" | "status" | "step"]:
            return _TEXT
        case ["run", "labels", _] | ["run", "parent", "id" | "step"]:
            return _TEXT
        case ["headers", _]:
            return _TEXT
        case ["steps", _, "status" | "skip_reason"] | ["error", "type" | "message"]:
            return _TEXT
        case ["steps", _, "error", key]:
            return _NUMBER if key == "attempts" else _TEXT
        case ["input", _, *_]:
            return _noun_of_field(schema_of(".".join(words), fields))
    return None


def _noun_of_field(schema: Mapping[str, Json] | None) -> str | None:
    if schema is None:
        return None
    kinds = types_of(schema)
    options = schema.get("enum")
    if not kinds and isinstance(options, list):
        kinds = [type_name(option) for option in options]
    nouns = {_NOUNS.get(kind, "") for kind in kinds if kind != "null"}
    return nouns.pop() if len(nouns) == 1 and "" not in nouns else None
