"""Write: draw a flow, or a run with the status of each step."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from pgflow_yaml.cli import lookup
from pgflow_yaml.cli.diagnostics import valid_definition
from pgflow_yaml.cli.live.symbols import ASCII, STYLES, Symbols, symbols_for
from pgflow_yaml.cli.options import Options, command, pass_options
from pgflow_yaml.cli.output import write_lines
from pgflow_yaml.errors import Unavailable
from pgflow_yaml.language.graph.drawing import Drawing, of_definition
from pgflow_yaml.language.graph.folding import fold
from pgflow_yaml.language.graph.text import Pen, render
from pgflow_yaml.runs.graph import of_run

FORMATS = ("text", "mermaid", "dot", "svg")
_SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid"}


@command("graph", example="pgflow-yaml graph hello.flow.yaml")
@click.argument("subject", metavar="FILE or RUN", type=click.Path())
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Format of the drawing. [default: text, or by the suffix in -o]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the drawing to this file.",
)
@click.option("--open", "open_", is_flag=True, help="Open the drawing as SVG in the browser.")
@pass_options
def graph_command(
    options: Options, *, subject: str, form: str | None, output: Path | None, open_: bool
) -> None:
    """Draw a flow, or a run with the status of each step.

    In flows of more than 200 steps, those with the same dependencies and dependents are drawn as
    one.
    """
    from pgflow_yaml.cli.output import write_json

    if open_ and form not in {None, "svg"}:
        raise click.UsageError("--open shows an SVG; leave out --format")
    default = "svg" if open_ else "text"
    if output is not None and not open_:
        default = _SUFFIXES.get(output.suffix.lower(), default)
    drawing = _find(subject, options)
    _write(drawing, form or default, options, output=output, open_=open_)
    if options.json:
        write_json(_shape(drawing))


def _write(
    drawing: Drawing, form: str, options: Options, *, output: Path | None, open_: bool
) -> None:
    from pgflow_yaml.cli.output import write_file

    small = _folded(drawing, options)
    if open_ and output is None:
        output = _temporary_file(drawing)
    if output is not None:
        write_file(output, _as_text(small, form))
        options.note(f"wrote {output}")
        if open_:
            _show(output)
    elif not options.json:
        _write_on_stdout(small, form, options)


_PIPE_WIDTH = 100


def _find(subject: str, options: Options) -> Drawing:
    """Return the drawing of a file or run; a text that looks like a file is never a run."""
    if Path(subject).exists() or Path(subject).suffix in {".yaml", ".yml"}:
        return of_definition(valid_definition(subject, options))
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.client.lookup import snapshot

    with database(options, reads=True, run=subject) as client:
        found = snapshot(client, lookup.run_id(client, subject), outputs=False)
        run = found["run"]
        stored = client.get_definition(run["flow"], run["version"])
    return of_run(found, of_definition(stored.as_definition()) if stored else None)


def _folded(drawing: Drawing, options: Options) -> Drawing:
    """Return a large drawing folded, with a note about it on stderr."""
    small = fold(drawing)
    if len(small.nodes) < len(drawing.nodes):
        options.note(
            f"{len(drawing.nodes):,} steps are drawn as {len(small.nodes):,}; --json has all"
        )
    return small


def _shape(drawing: Drawing) -> dict[str, Any]:
    """Return the JSON of a drawing; its field names are API."""
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


def _write_on_stdout(drawing: Drawing, form: str, options: Options) -> None:
    """Write the picture to stdout."""
    if form != "text":
        sys.stdout.write(_as_text(drawing, form))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    lines = render(drawing, width=width, pen=_pen(symbols_for(sys.stdout.encoding)))
    styled = [[(text, STYLES.get(status, "")) for text, status in line] for line in lines]
    write_lines(styled, sys.stdout, options)


def _as_text(drawing: Drawing, form: str) -> str:
    """Return the picture as the text of a file."""
    if form == "svg":
        from pgflow_yaml.language.graph.svg import svg

        return svg(drawing)
    from pgflow_yaml.language.graph import formats

    if form == "text":
        lines = render(drawing, width=_PIPE_WIDTH, pen=_pen(symbols_for("utf-8")))
        return "".join("".join(text for text, _ in line) + "\n" for line in lines)
    return formats.mermaid(drawing) if form == "mermaid" else formats.dot(drawing)


def _temporary_file(drawing: Drawing) -> Path:
    """Return a path for a picture to show; the file stays, as the browser may read it later."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="pgflow-")) / f"{drawing.flow}.svg"


def _show(path: Path) -> None:
    """Open a file in the browser."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        raise Unavailable(f"no browser can be opened here; the picture is in {path}")


def _pen(symbols: Symbols) -> Pen:
    return Pen(symbols=symbols.status, ascii=symbols is ASCII)
