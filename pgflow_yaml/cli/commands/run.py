"""Run: run a flow here and follow it to its end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import click

from pgflow_yaml.cli import lookup
from pgflow_yaml.cli.database import check_routes, database
from pgflow_yaml.cli.diagnostics import error_frame, valid_definitions
from pgflow_yaml.cli.failures import TIMEOUT
from pgflow_yaml.cli.live.follow import Followed, take_leave, to_its_end
from pgflow_yaml.cli.live.views import view_for
from pgflow_yaml.cli.logs import let_handlers_log, set_up_logs
from pgflow_yaml.cli.options import (
    Options,
    command,
    input_option,
    key_option,
    label_option,
    pass_options,
    worker_options,
)
from pgflow_yaml.cli.resuming import resume_command
from pgflow_yaml.cli.run_input import read_input, trace_of_shell
from pgflow_yaml.cli.serving import interruptible
from pgflow_yaml.cli.streams import keep_stdout_for_results
from pgflow_yaml.cli.work_options import WorkOptions
from pgflow_yaml.errors import InvalidFlow, NotFound, PgflowError
from pgflow_yaml.project.files import is_file
from pgflow_yaml.project.flow_set import FlowSet
from pgflow_yaml.runs.snapshot import STATUS_PHRASES
from pgflow_yaml.worker.background import working

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgflow_yaml.cli.live.end_screen import Picture
    from pgflow_yaml.client import Client, Started, StoredVersion
    from pgflow_yaml.project.settings import Settings


@command("run", example="pgflow-yaml run hello.flow.yaml --input name=Ada")
@click.argument("flows", metavar="[FILE... or FLOW]", nargs=-1, type=click.Path())
@click.option("--resume", metavar="RUN", help="Continue a run that was begun before.")
@input_option
@key_option
@label_option("--label", text="Label to find the run by, see `runs --label` (may be repeated).")
@click.option("--detach", is_flag=True, help="Leave the run to other workers and print its id.")
@click.option(
    "--timeout", metavar="TIME", help="Stop following after this time, such as 30s or 5m; exit 124."
)
@worker_options
@pass_options
def run_command(options: Options, /, **arguments: Any) -> int:
    """Run a flow here and follow it to its end.

    Deploy the FILEs that changed, start the flow of the first one, and execute its tasks and those
    of its child flows in this process. The exit code tells the outcome of the run.

    Ctrl-C stops the worker in this process and keeps the run: running handlers may finish. A second
    one gives their tasks back at once. `run --resume RUN` continues the run.
    """
    return _run(Request(**arguments), options)


HINT = "Ctrl-C stops the worker in here; the run is kept"
NOTE = "stopping: what has begun may finish (again: it is given back at once)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(WorkOptions):
    """Arguments of `run`."""

    flows: Sequence[str]
    resume: str | None
    inputs: Sequence[str]
    key: str | None
    labels: Mapping[str, str]
    detach: bool

    def check(self) -> None:
        """Raise UsageError unless the command either starts a run or continues one."""
        self.seconds()
        if self.resume is None:
            if not self.flows:
                raise click.UsageError("name the FILEs or the FLOW to run, or --resume RUN")
            return
        fixed = {"--input": self.inputs, "--key": self.key, "--label": self.labels}
        given = [name for name, value in fixed.items() if value]
        given += ["--detach"] if self.detach else []
        given += [f'"{flow}"' for flow in self.flows[:1]]
        if given:
            raise click.UsageError(f"--resume continues a run as it was begun, without {given[0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The version to run, and the positions of its steps if they are in a file."""

    name: str
    version: str
    definition: Mapping[str, Any]
    positions: Callable[[], Mapping[str, str]]
    picture: Picture


def _run(request: Request, options: Options) -> int:
    """Execute the command and return the exit code of the outcome."""
    request.check()
    out = keep_stdout_for_results()
    if request.resume is not None:
        return _resume(request.resume, out, request=request, options=options)
    settings = request.settings()
    flows = _load(request.flows, settings)
    definitions = valid_definitions(flows, options)
    # A wrong input is reported before anything is stored or started.
    run_input = read_input(request.inputs, definitions[0].body) if definitions else None
    name = definitions[0].name if definitions else request.flows[0]
    with database(options, notify=settings.notify, flow=name) as client:
        if definitions:
            check_routes(options, flows)
            chosen = _deploy(client, flows, options)
        else:
            chosen = _active(client, request.flows[0], settings)
            run_input = read_input(request.inputs, chosen.definition)
        started = client.start_run(
            chosen.name,
            run_input,
            key=request.key,
            version=chosen.version,
            labels=request.labels,
            trace=trace_of_shell(),
        )
        run_id = started.run_id
        if not started.created:
            options.note(
                f"this key was used before: run {run_id[:8]} {STATUS_PHRASES[started.status]}"
            )
        if request.detach:
            out.write(_detached(started, options))
            return 0
        return work_and_follow(client, run_id, chosen, out, request=request, options=options)


def _resume(run: str, out: IO[str], *, request: Request, options: Options) -> int:
    """Continue a run and return the exit code of the outcome; of one that has ended, show it."""
    from pgflow_yaml.client.lookup import snapshot

    settings = request.settings()
    with database(options, notify=settings.notify, run=run) as client:
        run_id = lookup.run_id(client, run)
        shape = snapshot(client, run_id, outputs=False)["run"]
        stored = client.get_definition(shape["flow"], shape["version"])
        if stored is None or shape["version"] is None:
            raise NotFound(
                f"run {run_id[:8]} belongs to pgflow's own clients: no worker can run it"
            )
        chosen = stored_choice(stored, settings)
        return work_and_follow(client, run_id, chosen, out, request=request, options=options)


def work_and_follow(
    client: Client,
    run_id: str,
    chosen: Chosen,
    out: IO[str],
    *,
    request: WorkOptions,
    options: Options,
) -> int:
    """Run the tasks of a run in this process and follow it; return the exit code."""
    followed = Followed(
        run_id=run_id,
        view=view_for(options, out, hint=HINT),
        out=out,
        resume=resume_command(client, options, run_id, request.worker_words()),
        timeout=request.seconds(),
        positions=chosen.positions,
        picture=chosen.picture,
    )
    set_up_logs(options, shown_elsewhere=("failed", "timeout", "stop", "ended"))
    let_handlers_log()
    worker = client.worker(request.settings(), queues=client.run_queues(run_id))
    note = partial(options.note, NOTE)
    try:
        with client.patient() as follower, interruptible(worker), working(worker, note) as inside:
            code = to_its_end(follower, followed, options, check=inside.check)
    except KeyboardInterrupt:
        take_leave(client, followed, options)
        raise
    except PgflowError:
        options.note(f"run is kept: {followed.resume}")
        raise
    if code == TIMEOUT:
        take_leave(client, followed, options)
    return code


def _load(flows: Sequence[str], settings: Settings) -> FlowSet:
    """Return the set of the files; it is empty if the only argument names a deployed flow."""
    files = [flow for flow in flows if is_file(flow)]
    if not files and len(flows) == 1:
        return FlowSet(())
    if len(files) < len(flows):
        other = next(flow for flow in flows if flow not in files)
        raise click.UsageError(
            f'"{other}" is not a file; `run` takes files, or the name of one flow'
        )
    return FlowSet.load(files).with_handlers(settings)


def _deploy(client: Client, flows: FlowSet, options: Options) -> Chosen:
    """Deploy the changed flows; engine.md §2 defines when `run` also activates them."""
    from pgflow_yaml.client.outcomes import deployed
    from pgflow_yaml.language.validation.positions import step_positions

    results = client.deploy_set(flows, activate=True if client.embedded else None)
    by_name = {result.name: result for result in results}
    for file in flows.children_first():
        options.note(deployed(by_name[file.require().name]))
    first = flows.files[0]
    definition = first.require()
    return Chosen(
        name=definition.name,
        version=definition.version,
        definition=definition.body,
        positions=partial(step_positions, first.file, first.source, definition.name),
        picture=partial(error_frame, first.file, first.source, flow=definition.name),
    )


def _active(client: Client, name: str, settings: Settings) -> Chosen:
    """Return the active version of a flow."""
    return stored_choice(lookup.active(client, name), settings)


def stored_choice(stored: StoredVersion, settings: Settings) -> Chosen:
    """Return a stored version; raises InvalidFlow if its handlers cannot be called."""
    from pgflow_yaml.project.handler_checks import handler_findings

    name = stored.name
    file, source = f"{name}@{stored.version}", stored.source or ""
    findings = handler_findings(source, stored.definition, settings)
    if findings:
        raise InvalidFlow(file, source, findings)
    return Chosen(
        name=name,
        version=stored.version,
        definition=stored.definition,
        positions=dict,
        picture=partial(error_frame, file, source, flow=name),
    )


def _detached(started: Started, options: Options) -> str:
    import json

    return (json.dumps(started.as_json()) if options.json else started.run_id) + "\n"
