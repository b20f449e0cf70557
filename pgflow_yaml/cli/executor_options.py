"""The options that say where the handlers of a worker run: threads, processes, or an engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.language.resources import parse
from pgflow_yaml.language.sizes import byte_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgflow_yaml.project.settings import Settings
    from pgflow_yaml.worker.executors.pool import ExecutorFactory

_LEAST_MEMORY = 256 * 10**6
_THREAD, _PROCESS = "thread", "process"
_DECLARING = ("dask:", "tls:", "ray:")  # engines whose nodes say what they have


def _size(_ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """Return the number of bytes of `512MB`, `2GB` or `1.5GiB`."""
    if text is None:
        return None
    size = byte_count(text) or 0
    if size < _LEAST_MEMORY:
        sentence = f'"{text}" is not a size of at least 256MB, such as 2GB'
        raise click.BadParameter(sentence, param=param)
    return size


def _resources(
    _ctx: click.Context, param: click.Parameter, text: str | None
) -> dict[str, float] | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from error


def _name(_ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(r"\w+", name):
            raise click.BadParameter(f'"{name}" is not the name of a variable', param=param)
    return names


def executor_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options, which `executor_of` reads."""
    executor = click.option(
        "--executor",
        metavar="WHERE",
        default=_THREAD,
        show_default=True,
        help="Run handlers in a thread of this process (thread), each in a process of its own "
        "(process), or in an engine: dask://HOST:PORT (tls:// with TLS), ray:auto, or "
        "python:MODULE.FUNCTION, which returns a concurrent.futures.Executor.",
    )
    results = click.option(
        "--results",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="With an engine: keep outputs in this folder, which all its nodes share, so that none "
        "is computed again when this worker dies.",
    )
    env = click.option(
        "--child-env",
        metavar="NAME",
        multiple=True,
        callback=_name,
        help="With --executor process: let handlers see this variable, too (may be repeated). "
        "[default: PATH, HOME, LANG, LC_*, TZ, PYTHON*, VIRTUAL_ENV]",
    )
    memory = click.option(
        "--task-memory",
        metavar="SIZE",
        callback=_size,
        help="With --executor process: most memory of a process, such as 2GB.",
    )
    tasks = click.option(
        "--tasks-per-child",
        metavar="N",
        type=click.IntRange(1),
        help="With --executor process: replace a process after N calls.",
    )
    resources = click.option(
        "--resources",
        metavar="NAME=N,…",
        callback=_resources,
        help="Offer these to steps with `resources`: gpus=1,memory=16GB. The sum of what running "
        "tasks need stays within them. Nodes of Dask and Ray declare their own. [default: cpus, as "
        "many as --concurrency]",
    )
    return executor(resources(results(env(memory(tasks(function))))))


def executor_of(options: dict[str, Any]) -> Callable[[Settings], str | ExecutorFactory]:
    """Take these options out of all; return the executor, once the settings are known.

    Raise UsageError for options that would be ignored.
    """
    executor: str = options.pop("executor")
    env: Sequence[str] = options.pop("child_env")
    memory: int | None = options.pop("task_memory")
    tasks: int | None = options.pop("tasks_per_child")
    results: Path | None = options.pop("results")
    if options["resources"] and executor.startswith(_DECLARING):
        raise click.UsageError(f"--resources: the nodes of {executor} declare theirs")
    in_process = {"--child-env": env, "--task-memory": memory, "--tasks-per-child": tasks}
    for name, value in in_process.items():
        if value and executor != _PROCESS:
            raise click.UsageError(f"{name} needs --executor process: it sets up the processes")
    if executor == _PROCESS and results is None:
        from pgflow_yaml.worker.executors import in_processes

        processes = in_processes(env=env, memory=memory, tasks=tasks)
        return lambda _: processes
    if executor not in {_THREAD, _PROCESS}:
        return lambda settings: _engine(executor, settings, results)
    if results is not None:
        raise click.UsageError("--results needs an engine, such as --executor python:app.make")
    return lambda _: executor


def _engine(address: str, settings: Settings, results: Path | None) -> ExecutorFactory:
    from pgflow_yaml.worker.engines.schemes import engine_of
    from pgflow_yaml.worker.executors import InEngine

    engine = engine_of(address, settings.app_dir)
    folder = None if results is None else str(results.absolute())
    lease = settings.lease or InEngine.lease
    return InEngine(make=lambda: engine, lease=lease, results=folder)
