"""The reply of a turn, unpacked into tasks; a row that cannot be read stops no other."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.task import RunContext, StepCall, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgflow_yaml.database.store import TurnReply
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.task import Sources

log = logging.getLogger(__name__)


def unpack(reply: TurnReply, calls: dict[str, StepCall], sources: Sources) -> Iterator[Task]:
    """Yield the tasks of a reply; `calls` keeps the steps from one reply to the next.

    A task that cannot be read is left out: when its lease expires it counts as crashed, and crashes
    are bounded (T21).
    """
    contexts = {
        name: RunContext(
            context,
            run_input=_input_of(name, context, sources.run_input),
            secret=sources.secret,
            span=sources.span,
            approval_link=sources.approval_link,
        )
        for name, context in reply["contexts"].items()
    }
    for name, spec in reply["specs"].items():
        if name not in calls:
            with _skip_unreadable(f"step {name}"):
                calls[name] = StepCall(spec)
    for row in reply["tasks"]:
        task: Task | None = None
        with _skip_unreadable(f"task {row.get('run')}/{row.get('step')}/{row.get('index')}"):
            context = contexts[f"{row['run']}/{row['step']}"]
            task = Task(row, calls[f"{row['flow']}/{row['step']}"], context)
            context.uses += 1
        if task is not None:
            yield task


@contextmanager
def _skip_unreadable(subject: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        log.error(  # noqa: TRY400 (a trace of our own code does not explain the row)
            "%s cannot be read: %s: %s",
            subject,
            type(error).__name__,
            error,
            extra={"action": "turn"},
        )


def _input_of(
    name: str, context: dict[str, Any], fetch: Callable[[str], Json]
) -> Callable[[], Json]:
    """Return a function for the run's input: in the reply, or fetched when first asked for."""
    values: list[Json] = [context["run_input"]] if "run_input" in context else []

    def run_input() -> Json:
        if not values:
            values.append(fetch(name.partition("/")[0]))
        return values[0]

    return run_input
