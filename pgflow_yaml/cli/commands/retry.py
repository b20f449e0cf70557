"""Act: retry the failed steps of a run and follow it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from pgflow_yaml.cli import lookup
from pgflow_yaml.cli.database import database
from pgflow_yaml.cli.failures import BAD
from pgflow_yaml.cli.options import (
    Options,
    command,
    input_option,
    pass_options,
    worker_options,
)
from pgflow_yaml.cli.streams import keep_stdout_for_results
from pgflow_yaml.cli.work_options import WorkOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.client import Client, Retried
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.snapshot import Snapshot


@command("retry", example="pgflow-yaml retry last --detach")
@click.argument("run")
@click.option("--step", "steps", metavar="STEP", multiple=True, help="Only this failed step.")
@click.option(
    "--from",
    "from_steps",
    metavar="STEP",
    multiple=True,
    help="From this step on, whatever it is; with its completed items too.",
)
@click.option(
    "--only-failed",
    is_flag=True,
    help="Also the items that a map tolerated and the steps that `when_exhausted` skipped.",
)
@input_option
@click.option("--on", "version", metavar="VERSION", help="Go on with another version, or `latest`.")
@click.option("--as-new", is_flag=True, help="Retry a copy of the run; the run stays as it is.")
@click.option("--yes", is_flag=True, help="Agree that completed steps run again.")
@click.option("--detach", is_flag=True, help="Leave the run to other workers and print its id.")
@click.option(
    "--timeout", metavar="TIME", help="Stop following after this time, such as 30s or 5m; exit 124."
)
@worker_options
@pass_options
def retry_command(options: Options, /, **arguments: Any) -> int:
    """Run again what failed or was cancelled in a run, and all steps after it.

    Outputs of the other steps and completed items of maps are kept; attempts and the timeout of the
    run begin anew. Failures that other steps have handled are left alone. With --input, new values
    go over those of the run. Then follow the run, as `watch` does; on the project's own database
    its tasks run in this process, as in `run`. The exit code tells the outcome of the run.

    RUN is an id, the beginning of one, a key, or "last".
    """
    return _retry(Request(**arguments), options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(WorkOptions):
    """Arguments of `retry`."""

    run: str
    steps: Sequence[str]
    from_steps: Sequence[str]
    only_failed: bool
    inputs: Sequence[str]
    version: str | None
    as_new: bool
    yes: bool
    detach: bool


def _retry(request: Request, options: Options) -> int:
    """Execute the command and return the exit code."""
    from pgflow_yaml.cli.commands import run as running
    from pgflow_yaml.cli.decisions import user
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.client import outcomes
    from pgflow_yaml.client.lookup import snapshot

    request.seconds()
    out = keep_stdout_for_results()
    settings = request.settings()
    with database(options, notify=settings.notify, run=request.run) as client:
        before = snapshot(client, lookup.run_id(client, request.run), outputs=False)
        call = _call(client, before, request)
        plan = client.retry(**call, dry_run=True)
        works_here = client.embedded and not request.detach
        chosen = None
        if works_here and (stored := client.get_definition(plan.flow, plan.version)) is not None:
            chosen = running.stored_choice(stored, settings)
        if not _agreed(plan, request, options):
            options.note("nothing changed")
            return BAD
        retried = client.retry(**call, by=user())
        for said in outcomes.retried(retried, before["run"]["id"]):
            options.note(said)
        if request.detach:
            if options.json:
                write_json(retried.as_json())
            else:
                out.write(retried.run_id + "\n")
            return 0
        if chosen is not None:
            return running.work_and_follow(
                client, retried.run_id, chosen, out, request=request, options=options
            )
        return _watch(client, retried.run_id, out, request=request, options=options)


def _call(client: Client, snapshot: Snapshot, request: Request) -> dict[str, Any]:
    """Return the arguments of the retry; raises NotFound for a step or a version."""
    from pgflow_yaml.client.lookup import step

    for slug in (*request.steps, *request.from_steps):
        step(snapshot, slug)
    flow, version = snapshot["run"]["flow"], request.version
    if version is not None and version != "latest":
        version = lookup.version(client, flow, version)
    return {
        "run": snapshot["run"]["id"],
        "steps": request.steps,
        "from_steps": request.from_steps,
        "only_failed": request.only_failed,
        "input": _input(client, snapshot, version, request.inputs) if request.inputs else None,
        "version": version,
        "as_new": request.as_new,
    }


def _input(client: Client, snapshot: Snapshot, version: str | None, inputs: Sequence[str]) -> Json:
    """Return the input of the run with the new values over it."""
    from pgflow_yaml.cli.run_input import read_input

    run = snapshot["run"]
    wanted = None if version == "latest" else version or run["version"]
    stored = client.get_definition(run["flow"], wanted)
    return read_input(inputs, stored.definition if stored else {}, before=run["input"])


def _agreed(plan: Retried, request: Request, options: Options) -> bool:
    """Return true if no completed step runs again, or somebody agrees; raises UsageError."""
    from pgflow_yaml.client.outcomes import agreement

    fact = agreement(plan)
    if request.yes or fact is None:
        return True
    if options.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{fact}; --yes agrees")
    options.note(fact)
    return click.confirm("run them again?", err=True)


def _watch(client: Client, run_id: str, out: IO[str], *, request: Request, options: Options) -> int:
    """Follow the run, which other workers execute; return the exit code of its outcome."""
    from pgflow_yaml.cli.failures import TIMEOUT
    from pgflow_yaml.cli.live import views
    from pgflow_yaml.cli.live.follow import Followed, take_leave, to_its_end
    from pgflow_yaml.cli.resuming import resume_command

    resume = resume_command(client, options, run_id, request.worker_words())
    hint = "Ctrl-C stops following, not the run"
    followed = Followed(
        run_id=run_id,
        view=views.view_for(options, out, hint=hint, resume=resume),
        out=out,
        timeout=request.seconds(),
        resume=resume,
    )
    try:
        with client.patient() as patient:
            code = to_its_end(patient, followed, options)
    except KeyboardInterrupt:
        take_leave(client, followed, options)
        raise
    if code == TIMEOUT:
        take_leave(client, followed, options)
    return code
