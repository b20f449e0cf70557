"""Watch: follow a run to its end."""

from __future__ import annotations

import sys

import click

from pgflow_yaml.cli.options import Options, command, pass_options


@command("watch", example="pgflow-yaml watch last")
@click.argument("run", default="last")
@click.option(
    "--timeout", metavar="TIME", help="Stop following after this time, such as 30s or 5m; exit 124."
)
@click.option("--plain", is_flag=True, help="A line for each change, also on a terminal.")
@pass_options
def watch_command(options: Options, *, run: str, timeout: str | None, plain: bool) -> int:
    """Follow a run to its end; the exit code says how it ended.

    RUN is an id, the beginning of one, a key, or "last". Ctrl-C stops following, not the run.
    """
    from pgflow_yaml.cli import lookup
    from pgflow_yaml.cli.database import database
    from pgflow_yaml.cli.failures import TIMEOUT
    from pgflow_yaml.cli.live import views
    from pgflow_yaml.cli.live.follow import Followed, take_leave, to_its_end
    from pgflow_yaml.cli.options import optional_seconds
    from pgflow_yaml.cli.resuming import resume_command

    limit = optional_seconds(timeout, "--timeout")
    hint = "Ctrl-C stops following, not the run"
    with database(options, run=run) as client:
        chosen = lookup.run_id(client, run)
        resume = resume_command(client, options, chosen)
        view = (
            views.plain_lines(resume)
            if plain and not options.json
            else views.view_for(options, sys.stdout, hint=hint, resume=resume)
        )
        followed = Followed(run_id=chosen, view=view, out=sys.stdout, timeout=limit, resume=resume)
        try:
            with client.patient() as patient:
                code = to_its_end(patient, followed, options)
        except KeyboardInterrupt:
            take_leave(client, followed, options)
            raise
        if code == TIMEOUT:
            take_leave(client, followed, options)
        return code
