"""Remarks on one step beside its status, for every list of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.text import error_text

from . import steps
from .waits import answer, child_run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .failures import FailureHandling
    from .snapshot import StepShape


def remark(
    step: StepShape, every: Mapping[str, StepShape], handling: FailureHandling | None
) -> str:
    """Return a remark without the current time: the same step gives the same one."""
    return "; ".join(filter(None, _remarks(step, every, handling)))


def _remarks(
    step: StepShape, every: Mapping[str, StepShape], handling: FailureHandling | None
) -> Iterator[str]:
    match step["status"]:
        case "created":
            last = step["finally"] and not step["waiting_for"]
            yield "finally" if last else steps.waiting_for(step)
        case "skipped":
            yield steps.skip_reason(step, every)
        case _ if steps.is_wide(step):
            yield f"{steps.task_noun(step)}s {steps.task_counts(step)}"
        case "waiting" if step["child"]:
            yield f"runs {' · '.join(child_run(step['child'], of_many=False))}"
        case "waiting" if step["waits"]:
            yield wait_until(step["waits"])
        case "started":
            yield steps.call(step) if step["iteration"] else ""
            yield steps.progress(step)
        case "completed":
            yield answer(step)
    if step["status"] == "failed":
        yield error_text(step["error"])
        yield handling.text if handling else ""
