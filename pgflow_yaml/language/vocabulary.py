"""Words of other tools and of later releases: our own words for them, and advice.

The words are data in `vocabulary.yaml`, read when the first unknown word turns up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from pgflow_yaml.language import source
from pgflow_yaml.language.suggestions import bare, slug

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Level = Literal[
    "flow",
    "step",
    "defaults",
    "retry",
    "wait",
    "repeat",
    "field",
    "concurrency",
    "rate_limit",
    "schedule",
    "webhook",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vocabulary:
    """Content of the file, with foreign words and hooks by the word."""

    later: Mapping[str, Mapping[str, str]]
    foreign: Mapping[tuple[str, str], str]
    advice: Mapping[str, Mapping[str, str]]
    elsewhere: Mapping[tuple[str, str], tuple[str, str]]
    keywords: Mapping[str, str]
    names: Mapping[tuple[str, ...], str]
    functions: Mapping[str, str]


@cache
def _vocabulary() -> _Vocabulary:
    text = files(__package__).joinpath("vocabulary.yaml").read_text(encoding="utf-8")
    root = source.parse(text).root
    data: Any = None if root is None else root.data()
    return _Vocabulary(
        later=data["later"],
        foreign={
            (level, word): key
            for level, keys in data["foreign"].items()
            for key, words in keys.items()
            for word in words
        },
        advice=data["advice"],
        elsewhere={
            (level, word): (entry["is"], entry["advice"])
            for level, entries in data["elsewhere"].items()
            for entry in entries
            for word in entry["words"]
        },
        keywords=data["keywords"],
        names={tuple(path.split(".")): ours for path, ours in data["names"].items()},
        functions=data["functions"],
    )


def later_keys(level: Level) -> tuple[str, ...]:
    """Return the keys of later releases."""
    return tuple(_vocabulary().later.get(level, ()))


def later(level: Level, key: str) -> str | None:
    """Return the advice for a key of a later release, or None."""
    return _vocabulary().later.get(level, {}).get(key)


def foreign(level: Level, key: str) -> tuple[str, str] | None:
    """Return our key for a word of another tool, and advice; None for other words."""
    ours = _vocabulary().foreign.get((level, bare(key)))
    if ours is None or ours == key:
        return None
    return ours, _vocabulary().advice.get(level, {}).get(ours, f"write `{ours}:`")


def has_our_shape(level: Level, key: str) -> bool:
    """Return true if the value of a foreign word can be checked as the value of our key."""
    word = key.lower()
    return level == "flow" and (
        _vocabulary().foreign.get((level, word)) == "steps"
        or word in ("inputs", "params", "parameters")
    )


def elsewhere(level: Level, key: str) -> tuple[str, str] | None:
    """Return what a key of another tool is here where no key is like it, and advice; or None."""
    return _vocabulary().elsewhere.get((level, bare(key)))


def foreign_path(words: Sequence[str]) -> tuple[int, str] | None:
    """Return how many words of a path another tool has, and our path or advice; or None.

    The longest known beginning counts: `needs.a.result` is `steps.a.status`.
    """
    names = _vocabulary().names
    for count in range(len(words), 0, -1):
        given = tuple(words[:count])
        if given in names:
            return count, names[given]
        pattern = (given[0], "*", *given[2:])
        if count > 1 and pattern in names:
            return count, names[pattern].replace("*", slug(given[1]))
    return None


def foreign_function(name: str) -> str | None:
    """Return our function for one of another tool, or advice; None for other words."""
    return _vocabulary().functions.get(name)


def field_advice(key: str) -> str | None:
    """Return the advice for a keyword that an input field cannot have, or None."""
    return _vocabulary().keywords.get(key)
