"""Write a drawing as SVG inside a page: the layout of a version, and the marks of a run on it.

A box never moves or grows while its run goes on: progress is a bar along its lower edge and a line
of fixed width. So a page gets the picture once, and then only marks (`update`). For a page whose
policy allows no inline style, the picture has classes only; all begin with `pg-`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from pgflow_yaml.language.graph.markup import SYMBOLS, escaped, word
from pgflow_yaml.language.graph.sheet import Measure, sheet
from pgflow_yaml.text import cells, safe
from pgflow_yaml.text import fit as fitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.graph.drawing import Drawing, Node
    from pgflow_yaml.language.graph.sheet import Box, Curve, Sheet

_HEIGHT, _PADDING, _LETTER, _SMALL_LETTER = 44.0, 10.0, 7.9, 6.7
_LONGEST, _SHORTEST_LINE, _LONGEST_LINE = 32, 20, 40
_NAME_LINE, _SECOND_LINE, _BAR, _CORNER = 18, 34, 2, 6
# The order in which a reader must see them; a page opens at the first that is there.
_RANKS = (
    *("failed", "caught", "retrying", "started", "repeating", "waiting", "cancelled"),
    *("created", "completed", "skipped"),
)
_LIVE = _RANKS[: _RANKS.index("waiting") + 1]


class Mark(NamedTuple):
    """The marks of a run on a box: its condition, some words, and its progress in percent."""

    condition: str
    words: str = ""
    percent: int = 0


def place(drawing: Drawing) -> Sheet:
    """Return the layout of a drawing for a page; it is the same for all runs of a version."""
    return sheet(drawing, Measure(height=_HEIGHT, width=_width))


def focus(marks: Mapping[str, Mark]) -> str | None:
    """Return the step that a page opens at: the first failed one, else the first live one."""
    first: dict[str, str] = {}
    for slug, mark in marks.items():
        first.setdefault(mark.condition, slug)
    return next((first[condition] for condition in _LIVE if condition in first), None)


def update(page: Sheet, marks: Mapping[str, Mark]) -> dict[str, tuple[str, str, int, str]]:
    """Return condition, second line, percentage and label of each box of a picture shown."""
    shown = {box.node.slug: (box, _mark(box.node, marks)) for box in page.boxes}
    return {
        slug: (mark.condition, _second_line(box, mark), mark.percent, _label(box, mark))
        for slug, (box, mark) in shown.items()
        if mark
    }


def picture(  # the optional ones are what a page may choose
    page: Sheet,
    marks: Mapping[str, Mark],
    *,
    title: str,
    name: str = "graph",
    link: str = "?step=",
    selected: str | None = None,
    centre: str | None = None,
    fit: bool = False,
) -> str:
    """Return the picture; `name` begins its ids, and each box leads to `link` with its step.

    The box of `centre` has the id `<name>-centre`. With `fit`, it is as wide as its place.
    """
    size = f'width="{page.width:.0f}" height="{page.height:.0f}"'
    boxes = (
        _box(
            box,
            _mark(box.node, marks),
            link,
            _attributes(name, selected=_holds(box.node, selected), centre=_holds(box.node, centre)),
        )
        for box in page.boxes
    )
    return "\n".join(
        [
            (
                f'<svg class="pg-graph{" pg-fit" if fit else ""}" id="{escaped(name)}" {size} '
                f'viewBox="0 0 {page.width:.0f} {page.height:.0f}" role="group" '
                f'aria-label="{escaped(title)}">'
            ),
            (
                f'<defs><marker id="{escaped(name)}-arrow" viewBox="0 0 6 6" refX="0" refY="3" '
                'markerWidth="6" markerHeight="6" orient="auto" markerUnits="userSpaceOnUse">'
                '<path d="M0 0L6 3L0 6z" class="pg-arrow"/></marker></defs>'
            ),
            *(_curve(curve, name) for curve in page.curves),
            *boxes,
            *(
                f'<text class="pg-heading" x="{x:.0f}" y="{y:.0f}">{escaped(text)}</text>'
                for text, (x, y) in page.headings
            ),
            "</svg>",
        ]
    )


def _curve(curve: Curve, name: str) -> str:
    edge = curve.edge
    return (
        f'<path class="pg-edge pg-on-{edge.kind}" d="{curve.path()}" '
        f'marker-end="url(#{escaped(name)}-arrow)">'
        f"<title>{escaped(f'{edge.source} → {edge.target}: {edge.kind}')}</title></path>"
    )


def _attributes(name: str, *, selected: bool, centre: bool) -> str:
    attributes = f' id="{escaped(name)}-centre"' if centre else ""
    return attributes + (' aria-current="true"' if selected else "")


def _box(box: Box, mark: Mark | None, link: str, attributes: str) -> str:
    node = box.node
    x, y = round(box.x), round(box.y)
    condition = f" pg-{mark.condition}" if mark else ""
    second = _second_line(box, mark)
    percent = mark.percent if mark else 0
    return (
        f'<a class="pg-box{condition}" href="{escaped(link + quote(node.slug, safe=""))}" '
        f'data-step="{escaped(node.slug)}"{attributes} aria-label="{escaped(_label(box, mark))}">'
        f"<title>{escaped(_title(node))}</title>"
        f'<rect x="{x}" y="{y}" width="{box.width:.0f}" height="{box.height:.0f}" rx="{_CORNER}"/>'
        f'<path class="pg-bar" pathLength="100" stroke-dasharray="{percent} 100" '
        f'd="M{x + _CORNER} {y + round(box.height) - _BAR}h{box.width - 2 * _CORNER:.0f}"/>'
        f'<text x="{x + _PADDING:.0f}" y="{y + _NAME_LINE}">{escaped(_name(node))}</text> '
        f'<text class="pg-second" x="{x + _PADDING:.0f}" y="{y + _SECOND_LINE}">'
        f"{escaped(second)}</text></a>"
    )


def _label(box: Box, mark: Mark | None) -> str:
    """Return the words for those who do not see the box: `charge attempt 5 of 5: failed`.

    What the box shows comes first, as it stands there: who speaks to a browser says what he sees.
    """
    node, shown = box.node, _second_line(box, mark).removeprefix(_symbol(mark))
    name, words = _name(node), _words(node, mark)
    rest = [word(mark.condition)] if mark else []
    rest += node.notes if mark and mark.words else ()
    whole = [text for text, part in ((node.label, name), (words, shown)) if safe(text) != part]
    more = ", ".join(dict.fromkeys(part for part in (*rest, *whole) if part and part != shown))
    return f"{name} {shown}".rstrip() + (f": {more}" if more else "")


def _title(node: Node) -> str:
    return node.text + (f" ({', '.join(node.folded[:50])})" if node.folded else "")


def _second_line(box: Box, mark: Mark | None) -> str:
    """Return the words of a run, or the notes of a flow, with a symbol; cut to the box."""
    room = round((box.width - 2 * _PADDING) / _SMALL_LETTER)
    return fitted(safe(_symbol(mark) + _words(box.node, mark)), room)


def _symbol(mark: Mark | None) -> str:
    return f"{SYMBOLS.get(mark.condition, '')} " if mark else ""


def _words(node: Node, mark: Mark | None) -> str:
    words = mark.words if mark and mark.words else ", ".join(node.notes)
    return words or (word(mark.condition) if mark else "")


def _mark(node: Node, marks: Mapping[str, Mark]) -> Mark | None:
    """Return the mark of a box; of several steps in one, the condition that matters most."""
    if not node.folded:
        return marks.get(node.slug)
    conditions = {marks[slug].condition for slug in node.folded if slug in marks}
    return next((Mark(condition) for condition in _RANKS if condition in conditions), None)


def _holds(node: Node, slug: str | None) -> bool:
    return slug is not None and (slug == node.slug or slug in node.folded)


def _name(node: Node) -> str:
    return fitted(safe(node.label), _LONGEST)


def _width(node: Node) -> float:
    """Return the width of a box, which only depends on what the flow says about its step."""
    line = 2 + cells(safe(", ".join(node.notes)))
    line = min(max(line, _SHORTEST_LINE), _LONGEST_LINE)
    return max(cells(_name(node)) * _LETTER, line * _SMALL_LETTER) + 2 * _PADDING
