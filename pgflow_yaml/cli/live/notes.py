"""The lines below a step in the live view: its error, the command that it waits for, its child."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.runs.steps import is_wide
from pgflow_yaml.runs.waits import answer, child_words
from pgflow_yaml.text import cells

from .step_details import Scene, Segment, error_words
from .symbols import STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgflow_yaml.runs.snapshot import StepShape

# What finds room first: failures, what a person is asked to do, children, errors to be retried.
FAILURE, QUESTION, CHILD, ERROR = range(4)
MOST_QUESTIONS = 3
# The widest that may stand to the left of a line below a step.
ROOM_OF_THE_TREE = 24


def notes(steps: Sequence[StepShape], around: Scene, spare: int) -> dict[str, list[Segment]]:
    """Choose the lines below these steps, at most so many in all."""
    found = [
        (rank, place, step["slug"], lines)
        for step in steps
        for place, (rank, lines) in enumerate(_of_step(step, around))
    ]
    wanted = []
    for each in sorted(found, key=lambda each: each[0]):
        if (spare := spare - len(each[3])) < 0:
            break
        wanted.append(each)
    chosen: dict[str, list[Segment]] = {}
    for _, _, slug, lines in sorted(wanted, key=lambda each: each[1]):
        chosen.setdefault(slug, []).extend(lines)
    return chosen


def urgent(steps: Sequence[StepShape], around: Scene) -> list[Segment]:
    """List the lines that must be read: failures, and what a person is asked to do."""
    return [
        line
        for step in steps
        for rank, lines in _of_step(step, around)
        if rank <= QUESTION
        for line in lines
    ]


def _command(text: str, around: Scene) -> list[Segment]:
    """Lay out a command so that it can be copied: on two lines where it is too long for one."""
    if cells(text) <= around.frame.width - ROOM_OF_THE_TREE:
        return [(text, "bold")]
    first, _, rest = text.rpartition(" ")
    return [(f"{first} \\", "bold"), (f"  {rest}", "bold")]


def _of_step(step: StepShape, around: Scene) -> Iterator[tuple[int, list[Segment]]]:
    failed = step["status"] == "failed"
    words = error_words(step, around.errors.get(step["slug"]))
    if words and (failed or step["status"] in {"started", "skipped"}):
        style = STYLES[around.kind(step)] if failed else STYLES["failed"]
        yield (FAILURE if failed else ERROR, [(words, style)])
    waits = step["waits"]
    if waits and waits["kind"] == "event":
        command = answer(around.run_id, step["slug"], waits["event"] or "")
        yield QUESTION, _command(command, around)
    dot = f" {around.frame.look.dot} "
    if step["child"] and step["status"] == "waiting":
        style = STYLES["failed"] if step["child"]["status"] == "failed" else ""
        yield CHILD, [(child_words(step["child"], of_many=is_wide(step), dot=dot), style)]
    for each in step["awaited"][:MOST_QUESTIONS]:
        command = answer(each["run_id"], each["step"], each["event"])
        yield QUESTION, _command(command, around)
