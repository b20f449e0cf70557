"""Places where a secret may stand in an expression: alone, in a template, or joined by `+`.

A function, a subscript or a comparison could give a part of it, which no mask would find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.language.model import Json

_KEEPING = frozenset({"text", "+", "list", "dict"})


def misused_secrets(ast: Json) -> set[str]:
    """Return the paths of secrets that stand elsewhere in a tree."""
    return set(_misused(ast, allowed=True))


def secret_message(path: str) -> str:
    """Return the sentence about a secret that stands elsewhere."""
    return f"`{path}` can only stand alone, in a template, or be joined by `+`"


def _misused(node: Any, *, allowed: bool) -> Iterator[str]:
    if node[0] == "lit":
        return
    if node[0] == "path":
        if not allowed and node[1].startswith("secrets."):
            yield node[1]
        return
    inside = allowed and node[0] in _KEEPING
    for part in node[1:]:
        if type(part) is list:
            yield from _misused(part, allowed=inside)
