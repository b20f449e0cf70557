"""Pictures of flows and runs: `graph`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from pgflow_yaml.language.graph.drawing import Drawing

FORMATS = ("text", "mermaid", "dot", "svg")
_SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid"}


@command("graph", example="pgflow-yaml graph hello.flow.yaml")
@click.argument("subject", metavar="FILE or RUN", type=click.Path())
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Default: text, or by the name in -o."
)
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write it to a file."
)
@click.option("--open", "open_", is_flag=True, help="Show it as SVG in the browser.")
@pass_options
def graph_command(
    options: Options, *, subject: str, form: str | None, output: Path | None, open_: bool
) -> None:
    """Draw a flow, or a run with the status of each step.

    Flows of more than 200 steps are folded: steps that stand between the same others become one.
    """
    from pgflow_yaml.cli import drawing
    from pgflow_yaml.cli.output import write_json

    if open_ and form not in {None, "svg"}:
        raise click.UsageError("--open shows an SVG; leave out --format")
    default = "svg" if open_ else "text"
    if output is not None and not open_:
        default = _SUFFIXES.get(output.suffix.lower(), default)
    found = drawing.find(subject, options)
    _write(found, form or default, options, output=output, open_=open_)
    if options.json:
        write_json(drawing.shape(found))


def _write(
    found: Drawing, form: str, options: Options, *, output: Path | None, open_: bool
) -> None:
    from pgflow_yaml.cli import drawing
    from pgflow_yaml.cli.output import write_file

    small = drawing.folded(found, options)
    if open_ and output is None:
        output = drawing.temporary_file(found)
    if output is not None:
        write_file(output, drawing.as_text(small, form))
        options.note(f"wrote {output}")
        if open_:
            drawing.show(output)
    elif not options.json:
        drawing.write(small, form, options)
