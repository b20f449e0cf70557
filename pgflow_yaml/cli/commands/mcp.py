"""Watch: answer an assistant over stdin and stdout, as its MCP server."""

from __future__ import annotations

import click

from pgflow_yaml.cli.options import Options, command, pass_options
from pgflow_yaml.errors import Unavailable


@command("mcp", example="pgflow-yaml mcp")
@click.option(
    "--allow-actions",
    is_flag=True,
    help="Also let it start, retry, cancel, approve, reject and send.",
)
@pass_options
def mcp_command(options: Options, *, allow_actions: bool) -> None:
    """Let an assistant look at runs, by the Model Context Protocol on stdin and stdout.

    It needs the extra `mcp`. The assistant may list and show runs, flows and what waits, read logs,
    and ask why a run waits; the database refuses to write. With --allow-actions it may also act;
    the audit names it mcp: and your user name.
    """
    from importlib.util import find_spec

    if find_spec("mcp") is None:
        raise Unavailable("the server for assistants needs: pip install 'pgflow-yaml[mcp]'")
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.decisions import user
    from pgflow_yaml.mcp.server import serve
    from pgflow_yaml.project.settings import local_settings

    by = f"mcp:{user() or 'unknown'}"
    with database(options, notify=local_settings().notify) as client:
        if allow_actions:
            serve(client, by=by, actions=True)
            return
        with client.another(read_only=True) as reader:
            serve(reader, by=by, actions=False)
