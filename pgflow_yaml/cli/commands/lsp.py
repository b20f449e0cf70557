"""Write: answer an editor over stdin and stdout, as its language server."""

from __future__ import annotations

import click

from pgflow_yaml.cli.options import command
from pgflow_yaml.errors import Unavailable


@command("lsp", example="pgflow-yaml lsp")
@click.option("--stdio", is_flag=True, expose_value=False, help="No effect: editors may pass it.")
def lsp_command() -> None:
    """Run the language server for editors, over stdin and stdout.

    It needs the extra `lsp`. Findings, hovers, completion, definitions and rename come from the
    text in the editor, saved or not; no handler is imported.
    """
    from importlib.util import find_spec

    if find_spec("pygls") is None:
        raise Unavailable("the language server needs: pip install 'pgflow-yaml[lsp]'")
    from pgflow_yaml.lsp.server import server

    server.start_io()
