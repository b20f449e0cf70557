"""The strip of a flow: its last runs as cells, the oldest on the left, each with its symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from pgflow_yaml.language.graph.markup import SYMBOLS, escaped, word
from pgflow_yaml.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_CELLS = 30
_WIDTH, _GAP, _HEIGHT, _BASELINE = 14, 2, 20, 14
_STEP = _WIDTH + _GAP


class Result(TypedDict):
    """A run of a strip, as `flow_strips` returns it; `seconds` is None while it goes on."""

    id: str
    status: str
    seconds: float | None


def strip(last: Sequence[Result], *, flow: str, link: str = "/runs/") -> str:
    """Return the picture of the newest runs, given in their order, each leading to `link`.

    Its links are no stops of the Tab key: thirty a flow would bury the others, and the list of
    runs has them all.
    """
    shown = last[-MOST_CELLS:]
    width = max(len(shown) * _STEP - _GAP, 1)
    cells = (_cell(result, number * _STEP, link) for number, result in enumerate(shown))
    return (
        f'<svg class="pg-strip" width="{width}" height="{_HEIGHT}" viewBox="0 0 {width} {_HEIGHT}" '
        f'role="group" aria-label="{escaped(f"last runs of {flow}")}">{"".join(cells)}</svg>'
    )


def _cell(result: Result, x: int, link: str) -> str:
    took = f" in {duration(result['seconds'])}" if result["seconds"] is not None else ""
    words = escaped(f"{result['id'][:8]} {word(result['status'])}{took}")
    return (
        f'<a class="pg-cell pg-{escaped(result["status"])}" href="{escaped(link + result["id"])}" '
        f'tabindex="-1" aria-label="{words}"><title>{words}</title>'
        f'<rect x="{x}" width="{_WIDTH}" height="{_HEIGHT}" rx="3"/>'
        f'<text class="pg-mid" x="{x + _WIDTH // 2}" y="{_BASELINE}">'
        f"{SYMBOLS.get(result['status'], '')}</text></a>"
    )
