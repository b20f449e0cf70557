"""Write: print the JSON Schema of flow files, for editors."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pgflow_yaml.cli.options import Options, command, pass_options


@command("schema", example="pgflow-yaml schema -o .pgflow/workflow.schema.json")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write it to a file."
)
@click.option("--tests", is_flag=True, help="The schema of test files.")
@pass_options
def schema_command(options: Options, *, output: Path | None, tests: bool) -> None:
    """Print the JSON Schema of flow files, for editors.

    `init` writes it into a new project; this brings an older project up to date.
    """
    import json

    from pgflow_yaml.cli.output import write_file, write_json
    from pgflow_yaml.project import files

    text = files.schema_text("test" if tests else "workflow")
    if output is None:
        if options.json:
            write_json(json.loads(text))
        else:
            sys.stdout.write(text)
        return
    write_file(output, text)
    if options.json:
        write_json({"written": str(output)})
    else:
        options.note(f"wrote {output}")
