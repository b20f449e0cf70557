"""What `graph` draws, found in a file or a run, and written in one of four formats."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Unavailable
from pgflow_yaml.language.graph.drawing import Drawing, Edge, Node, of_definition, with_statuses
from pgflow_yaml.language.graph.folding import fold
from pgflow_yaml.language.graph.text import Pen, render
from pgflow_yaml.runs.steps import is_wide

from . import comparing, lookup
from .live.symbols import ASCII, STYLES, Look, look_for
from .output import write_lines

if TYPE_CHECKING:
    from pgflow_yaml.runs.snapshot import Snapshot

    from .options import Options

_PIPE_WIDTH = 100


def find(subject: str, options: Options) -> Drawing:
    """Draw a file, or a run; what looks like a file is never searched among the runs."""
    if Path(subject).exists() or Path(subject).suffix in {".yaml", ".yml"}:
        return of_definition(comparing.read(subject, options))
    from .database import connected

    with connected(options) as store:
        run = lookup.snapshot(store, lookup.run_id(store, subject), outputs=False)
        found = store.get_definition(run["run"]["flow"], run["run"]["version"])
    drawing = _of_snapshot(run) if found is None else of_definition(comparing.stored(found))
    return _of_run(drawing, run)


def _of_snapshot(run: Snapshot) -> Drawing:
    """Draw a run whose flow was made by pgflow's functions: no file, no definition."""
    return Drawing(
        flow=run["run"]["flow"],
        nodes=tuple(
            Node(slug=each["slug"], label=each["slug"], notes=("map",) if each["map"] else ())
            for each in run["steps"]
        ),
        edges=tuple(
            Edge(source=source, target=each["slug"])
            for each in run["steps"]
            for source in each["depends_on"]
        ),
    )


def _of_run(drawing: Drawing, run: Snapshot) -> Drawing:
    statuses: dict[str, str] = {step["slug"]: step["status"] for step in run["steps"]}
    notes = {
        step["slug"]: f"{step['tasks']['completed']:,}/{step['tasks']['total']:,}"
        for step in run["steps"]
        if is_wide(step)
    }
    return with_statuses(drawing, statuses, notes)


def folded(drawing: Drawing, options: Options) -> Drawing:
    """Make a large drawing small, and say so."""
    small = fold(drawing)
    if len(small.nodes) < len(drawing.nodes):
        options.note(
            f"{len(drawing.nodes):,} steps are drawn as {len(small.nodes):,}; --json has all"
        )
    return small


def shape(drawing: Drawing) -> dict[str, Any]:
    """Make the JSON; its field names are API."""
    return {
        "flow": drawing.flow,
        "nodes": [
            {
                "slug": node.slug,
                "finally": node.section == "finally",
                "notes": list(node.notes),
                "status": node.status,
            }
            for node in drawing.nodes
        ],
        "edges": [
            {"source": edge.source, "target": edge.target, "kind": edge.kind}
            for edge in drawing.edges
        ],
    }


def write(drawing: Drawing, form: str, options: Options) -> None:
    """Write the picture on stdout."""
    if form != "text":
        sys.stdout.write(as_text(drawing, form))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    lines = render(drawing, width=width, pen=_pen(look_for(sys.stdout.encoding)))
    styled = [[(text, STYLES.get(status, "")) for text, status in line] for line in lines]
    write_lines(styled, sys.stdout, options)


def as_text(drawing: Drawing, form: str) -> str:
    """Write the picture as the text of a file."""
    if form == "svg":
        from pgflow_yaml.language.graph.svg import svg

        return svg(drawing)
    from pgflow_yaml.language.graph import formats

    if form == "text":
        lines = render(drawing, width=_PIPE_WIDTH, pen=_pen(look_for("utf-8")))
        return "".join("".join(text for text, _ in line) + "\n" for line in lines)
    return formats.mermaid(drawing) if form == "mermaid" else formats.dot(drawing)


def temporary_file(drawing: Drawing) -> Path:
    """Name a file for a picture that is only looked at; the browser may still read it later."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="pgflow-")) / f"{drawing.flow}.svg"


def show(path: Path) -> None:
    """Open a file in the browser."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        raise Unavailable(f"no browser can be opened here; the picture is in {path}")


def _pen(look: Look) -> Pen:
    return Pen(symbols=look.symbols, ascii=look is ASCII)
