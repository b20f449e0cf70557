"""The lines below a step in the live view: its error, the command that it waits for, its child."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.runs import steps
from pgflow_yaml.runs.waits import answer_command, awaited_events, child_run
from pgflow_yaml.text import cells

from .symbols import STYLES, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgflow_yaml.runs.snapshot import StepShape

    from .step_details import RowContext

# The ranks of notes; lower ones get room first. A QUESTION asks a person to run a command.
FAILURE, QUESTION, CHILD, ERROR, LOG = range(5)
MOST_QUESTIONS = 3
# Maximum width of the tree to the left of a line below a step.
ROOM_OF_THE_TREE = 24


def notes(shown: Sequence[StepShape], context: RowContext, spare: int) -> dict[str, list[Segment]]:
    """Return the lines below these steps, by slug; at most `spare` in all."""
    ranked = [
        (rank, number, step["slug"], lines)
        for step in shown
        for number, (rank, lines) in enumerate(_of_step(step, context))
    ]
    chosen = []
    for note in sorted(ranked, key=lambda note: note[0]):
        if (spare := spare - len(note[3])) < 0:
            break
        chosen.append(note)
    below: dict[str, list[Segment]] = {}
    for _, _, slug, lines in sorted(chosen, key=lambda note: note[1]):
        below.setdefault(slug, []).extend(lines)
    return below


def urgent(shown: Sequence[StepShape], context: RowContext) -> list[Segment]:
    """Return the lines that must be read: failures, and commands for a person to run."""
    return [
        line
        for step in shown
        for rank, lines in _of_step(step, context)
        if rank <= QUESTION
        for line in lines
    ]


def _command(text: str, context: RowContext) -> list[Segment]:
    """Return a command that can be copied: on two lines if it is too long for one."""
    if cells(text) <= context.frame.width - ROOM_OF_THE_TREE:
        return [(text, "bold")]
    first, _, rest = text.rpartition(" ")
    return [(f"{first} \\", "bold"), (f"  {rest}", "bold")]


def _of_step(step: StepShape, context: RowContext) -> Iterator[tuple[int, list[Segment]]]:
    failed = step["status"] == "failed"
    error = steps.last_error(step, context.errors.get(step["slug"]))
    if error and (failed or step["status"] in {"started", "skipped"}):
        style = STYLES[context.condition(step)] if failed else STYLES["failed"]
        yield (FAILURE if failed else ERROR, [(error, style)])
    if error and (texts := steps.log_texts(step)):
        yield LOG, [(text, "dim") for text in texts]
    if (child := step["child"]) and step["status"] == "waiting":
        words = context.frame.dot.join(child_run(child, of_many=steps.is_wide(step)))
        yield CHILD, [(words, STYLES["failed"] if child["status"] == "failed" else "")]
    for event in awaited_events(step, context.run)[:MOST_QUESTIONS]:
        yield QUESTION, _command(answer_command(event), context)
