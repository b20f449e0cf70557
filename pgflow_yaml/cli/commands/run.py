"""Run: run a flow here and follow it to its end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.database import database
from pgflow_yaml.cli.flow_files.deploying import (
    children_first,
    deploy,
    require_children,
    require_valid,
    said,
)
from pgflow_yaml.cli.flow_files.loading import Loaded, is_file, load, with_handlers, worker_settings
from pgflow_yaml.cli.live.follow import Followed, to_its_end
from pgflow_yaml.cli.live.views import view_for
from pgflow_yaml.cli.logs import set_up_logs
from pgflow_yaml.cli.lookup import active
from pgflow_yaml.cli.options import (
    Options,
    command,
    input_option,
    label_option,
    optional_seconds,
    pass_options,
    worker_options,
)
from pgflow_yaml.cli.output import result_stream
from pgflow_yaml.cli.run_input import as_text, read_input
from pgflow_yaml.cli.worker_thread import sigterm_as_interrupt, worker_for, working
from pgflow_yaml.errors import InvalidFlow, PgflowError
from pgflow_yaml.runs.snapshot import STATUS_PHRASES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pgflow_yaml.cli.database import Database
    from pgflow_yaml.cli.live.end_screen import Picture
    from pgflow_yaml.database.store import Store
    from pgflow_yaml.project.settings import Settings
    from pgflow_yaml.worker import Worker


@command("run", example="pgflow-yaml run hello.flow.yaml --input name=Ada")
@click.argument("flows", metavar="FILE... or FLOW", nargs=-1, required=True, type=click.Path())
@input_option
@click.option("--key", help="Start once: the same key again is the same run.")
@label_option("--label", text="For finding the run again: `runs --label` (repeated).")
@click.option("--detach", is_flag=True, help="Start it for other workers, print its id.")
@click.option("--timeout", metavar="TIME", help="Stop following after 30s, 5m: exit 124.")
@worker_options
@pass_options
def run_command(options: Options, /, **given: Any) -> int:
    """Run a flow here and follow it to its end.

    The FILEs are deployed if they changed, the first is started, and a worker lives inside this
    command while it lasts, for this flow and the flows that its steps run. The exit code says
    how the run ended.
    """
    return _run(Request(**given), options)


HINT = "Ctrl-C stops the worker in here; the run is kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for on the command line of `run`."""

    flows: Sequence[str]
    inputs: Sequence[str]
    key: str | None
    labels: Mapping[str, str]
    detach: bool
    timeout: str | None
    concurrency: int | None
    app_dir: Path | None
    allow: Sequence[str]
    lease: str | None
    notify: bool | None
    secrets: Path | None

    def settings(self) -> Settings:
        """Lay the options over the project's settings."""
        return worker_settings(
            app_dir=self.app_dir,
            allow=self.allow,
            concurrency=self.concurrency,
            notify=self.notify,
            secrets=self.secrets,
            lease=optional_seconds(self.lease, "--lease"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The version to run, and where its steps stand if they are in a file."""

    name: str
    version: str
    definition: Mapping[str, Any]
    positions: Callable[[], Mapping[str, str]]
    picture: Picture


def _run(request: Request, options: Options) -> int:
    """Do what `run` says and return the exit code of the outcome."""
    timeout = optional_seconds(request.timeout, "--timeout")
    settings = request.settings()
    loaded = _load(request.flows, settings)
    definitions = require_valid(loaded, options)
    # A wrong input is told before anything is stored or started.
    given = read_input(request.inputs, definitions[0].body) if definitions else None
    with database(options) as place, place.store() as store, result_stream() as out:
        if given is not None:
            chosen = _deploy(store, loaded, place=place, options=options)
        else:
            chosen = _active(store, request.flows[0], settings)
            given = read_input(request.inputs, chosen.definition)
        started = store.start_run(
            chosen.name,
            as_text(given),
            key=request.key,
            version=chosen.version,
            labels=request.labels,
        )
        run_id = str(started["run_id"])
        if not started["created"]:
            status = STATUS_PHRASES[started["status"]]
            options.note(f"this key was used before: run {run_id[:8]} {status}")
        if request.detach:
            if settings.notify:
                store.wake()
            out.write(_detached(started, options))
            return 0
        view = view_for(options, out, hint=HINT)
        followed = Followed(
            run_id=run_id,
            view=view,
            out=out,
            timeout=timeout,
            positions=chosen.positions,
            picture=chosen.picture,
        )
        set_up_logs(options, shown_elsewhere=("failed", "timeout", "stop"))
        queues = store.queues_of(chosen.name, str(started["version"]))
        worker = worker_for(place, settings, queues=queues)
        with place.patient_store() as follower:
            return _work_and_follow(follower, worker, followed, options=options)


def _work_and_follow(store: Store, worker: Worker, followed: Followed, *, options: Options) -> int:
    try:
        with sigterm_as_interrupt(), working(worker, options.note) as beside:
            return to_its_end(store, followed, options, check=beside.check)
    except (KeyboardInterrupt, PgflowError):
        options.note(f"run is kept: pgflow-yaml watch {followed.run_id[:8]}")
        raise


def _load(flows: Sequence[str], settings: Settings) -> list[Loaded]:
    """Read what are files; one single name that is none is a flow in the database."""
    files = [each for each in flows if is_file(each)]
    if not files and len(flows) == 1:
        return []
    if len(files) < len(flows):
        other = next(each for each in flows if each not in files)
        raise click.UsageError(f'"{other}" is no file; `run` takes files, or the name of one flow')
    return [with_handlers(each, settings) for each in load(files)]


def _deploy(store: Store, loaded: Sequence[Loaded], *, place: Database, options: Options) -> Chosen:
    """Store what changed; engine.md §2 says when `run` also makes it the active version."""
    require_children(loaded, store)
    for file, definition in children_first(loaded):
        activate = place.embedded or store.get_definition(definition.name) is None
        options.note(said(deploy(store, definition, file=file, activate=activate)))
    first = loaded[0]
    assert first.definition is not None
    from pgflow_yaml.cli.flow_files.diagnostics import error_frame
    from pgflow_yaml.language.validation.positions import step_positions

    return Chosen(
        name=first.definition.name,
        version=first.definition.version,
        definition=first.definition.body,
        positions=partial(step_positions, first.file, first.source),
        picture=partial(error_frame, first.file, first.source),
    )


def _active(store: Store, name: str, settings: Settings) -> Chosen:
    """Take the active version of a flow, if its handlers can be called from here."""
    from pgflow_yaml.cli.flow_files.diagnostics import error_frame
    from pgflow_yaml.cli.flow_files.handler_checks import handler_findings

    found = active(store, name)
    wrong = handler_findings(found["source"], found["definition"], settings)
    if wrong:
        raise InvalidFlow(f"{name}@{found['version']}", found["source"], wrong)
    return Chosen(
        name=name,
        version=found["version"],
        definition=found["definition"],
        positions=dict,
        picture=partial(error_frame, f"{name}@{found['version']}", found["source"]),
    )


def _detached(started: Mapping[str, Any], options: Options) -> str:
    import json

    return (json.dumps(started) if options.json else str(started["run_id"])) + "\n"
