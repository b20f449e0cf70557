"""Run: process tasks until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.executor_options import executor_of, executor_options
from pgflow_yaml.cli.options import (
    Options,
    command,
    optional_seconds,
    pass_options,
    worker_options,
)
from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.client import Client
    from pgflow_yaml.worker.metrics.server import MetricsServer


@command("worker", example="pgflow-yaml worker --burst")
@click.option(
    "--queue",
    "queues",
    metavar="NAME",
    multiple=True,
    help="Serve only this queue, of a flow or named by steps (may be repeated).",
)
@click.option(
    "--burst",
    is_flag=True,
    help="Stop when no task is due; later retries and timers remain.",
)
@click.option(
    "--grace",
    metavar="TIME",
    help="Time for handlers to end after the first SIGTERM; then their tasks are given back. "
    "[default: 30s]",
)
@click.option(
    "--listen-dsn",
    metavar="CONNINFO",
    help="Hear wake-ups there, past a pooler that does not pass them on (else "
    "PGFLOW_YAML_LISTEN_DSN).",
)
@click.option(
    "--processes",
    metavar="N",
    type=click.IntRange(1, 256),
    help="Start N such workers, each a process, and start those again that die. One connection "
    "hears wake-ups for all.",
)
@click.option(
    "--poll-interval-ms",
    metavar="N",
    type=click.FloatRange(1),
    default=50,
    show_default=True,
    help="Poll interval after work, in milliseconds.",
)
@click.option(
    "--max-poll-seconds",
    metavar="N",
    type=click.FloatRange(0.001),
    default=1.0,
    show_default=True,
    help="Longest poll interval when idle, in seconds.",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve /metrics, /livez and /readyz over HTTP (the extra `metrics`). "
    "[default host: 127.0.0.1]",
)
@click.option(
    "--otel",
    is_flag=True,
    help="Send spans of runs, steps and attempts as the variables OTEL_* say (the extra `otel`).",
)
@executor_options
@worker_options
@pass_options
def worker_command(  # noqa: PLR0913 (click passes each option)
    options: Options,
    /,
    *,
    queues: Sequence[str],
    burst: bool,
    grace: str | None,
    listen_dsn: str | None,
    processes: int | None,
    poll_interval_ms: float,
    max_poll_seconds: float,
    metrics: str | None,
    otel: bool,
    lease: str | None,
    **others: Any,
) -> int:
    """Process tasks until told to stop.

    The first SIGTERM or Ctrl-C lets running handlers finish and exits 0; the second one gives their
    tasks back at once and exits 1.
    It waits for a database that is away, also when it starts.
    """
    import logging

    from pgflow_yaml.cli.database import database, named_database
    from pgflow_yaml.cli.logs import let_handlers_log, set_up_logs
    from pgflow_yaml.cli.output import write_json
    from pgflow_yaml.cli.serving import serve
    from pgflow_yaml.cli.streams import keep_stdout_for_results
    from pgflow_yaml.cli.supervising import supervise, wake_from
    from pgflow_yaml.project.settings import local_settings

    if options.json:
        keep_stdout_for_results()
    log = logging.getLogger("pgflow_yaml.cli")
    notice = "stopping: what has begun may finish; a second signal gives it back at once"
    executor_for = executor_of(others)
    resources = others.pop("resources")
    if otel:
        _need("opentelemetry.exporter.otlp.proto.http", "traces", "otel")
    seconds = optional_seconds(grace, "--grace")
    settings = local_settings(lease=optional_seconds(lease, "--lease"), **others)
    executor = executor_for(settings)
    if processes is not None:
        if metrics is not None:
            raise click.UsageError("--metrics needs one process: start workers one by one")
        return supervise(options, processes, listen_dsn)
    server = None if metrics is None else _metrics_server(metrics)
    is_named = named_database(options) is not None
    with database(options, checked=not is_named) as client:
        set_up_logs(options, level=logging.INFO)
        let_handlers_log()

        def warn() -> None:
            for name, near in _unknown(queues, client):
                log.warning('no flow in this database uses the queue "%s" yet%s', name, near)

        worker = client.worker(
            settings,
            queues=list(queues) or None,
            burst=burst,
            grace=seconds,
            wake_from=wake_from(listen_dsn),
            poll_interval_ms=poll_interval_ms,
            max_poll_seconds=max_poll_seconds,
            checked=is_named,
            on_ready=warn,
            names_runs=True,
            metrics=server is not None,
            otel=otel,
            executor=executor,
            resources=resources,
        )
        if server is not None:
            server.serve(worker)
        code = serve(worker, lambda: log.info(notice, extra={"action": "stop"}))
    if options.json:
        write_json({"worker": worker.id, "exit_code": code})
    return code


def _need(module: str, what: str, extra: str) -> None:
    """Raise Unavailable unless the module of an extra is installed."""
    from importlib import import_module

    try:
        import_module(module)
    except ImportError:
        sentence = f"{what} need: pip install 'pgflow-yaml[{extra}]'"
        raise Unavailable(sentence) from None


def _metrics_server(address: str) -> MetricsServer:
    _need("prometheus_client", "metrics", "metrics")
    from pgflow_yaml.worker.metrics.server import MetricsServer

    return MetricsServer(address)


def _unknown(queues: Sequence[str], client: Client) -> list[tuple[str, str]]:
    """Return the queues that no flow uses, each with a suggestion: it may be a typo."""
    from pgflow_yaml.language.suggestions import did_you_mean

    if not queues:
        return []
    known = client.served_queues()
    return [(queue, did_you_mean(queue, known)) for queue in queues if queue not in known]
