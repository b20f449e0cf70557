"""The answers of tools as text: JSON that is clean, valid and no longer than a model can read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 64_000
# Long texts are cut first, then long lists; each pair is tried until the answer fits.
_CUTS = (
    *((characters, 1_000_000) for characters in (8_000, 2_000, 500, 200)),
    *((200, items) for items in (500, 200, 100, 50, 20, 10, 5, 2)),
    *((50, items) for items in (2, 1, 0)),
)


def as_text(value: Any, hint: str) -> str:
    """Return a value as JSON of at most 64 kB without control characters.

    What is too long is cut, and `left_out` says so with the hint how to read the rest.
    """
    cleaned = _cleaned(value)
    text = _json(cleaned)
    if _size(text) <= MOST_BYTES:
        return text
    for text in _cut_down(cleaned, hint):
        if _size(text) <= MOST_BYTES:
            return text
    return _json({"left_out": f"the answer is too long; {hint}"})


def _cut_down(value: Any, hint: str) -> Iterator[str]:
    for characters, items in _CUTS:
        what = f"texts of more than {characters:,} characters"
        if items < 1_000_000:
            what += f" and lists of more than {items:,} items"
        note = {"left_out": f"cut here: {what}; {hint}"}
        yield _json({**note, **_cut(value, characters, items)})


def _cut(value: Any, characters: int, items: int) -> Any:
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]}… ({len(value):,} characters)"
    if isinstance(value, list):
        kept = [_cut(each, characters, items) for each in value[:items]]
        more = len(value) - len(kept)
        return [*kept, f"… ({more:,} more)"] if more else kept
    if isinstance(value, dict):
        return {name: _cut(inner, characters, items) for name, inner in value.items()}
    return value


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {clean(name): _cleaned(inner) for name, inner in value.items()}
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
