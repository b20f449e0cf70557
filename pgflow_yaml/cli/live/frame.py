"""The live view of a run: a pure function of (snapshot, width, height, now) to a text for rich.

Folding comes before drawing, so that a frame of 2,000 steps costs as much as one of 40.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from pgflow_yaml.runs import steps
from pgflow_yaml.runs.run import (
    NO_WORKER,
    is_done,
    is_left_alone,
    is_stopping,
    run_seconds,
    run_status,
)
from pgflow_yaml.runs.why import own_reason
from pgflow_yaml.text import (
    cells,
    duration,
    fit,
    fit_line,
    labels_text,
    one_line,
    plural,
)

from .notes import notes, urgent
from .step_details import RowContext, detail, row_context
from .symbols import STYLES, Frame, Line, Segment
from .tree import Row, connectors, picture

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pgflow_yaml.runs.snapshot import FailedAttempt, RunShape, Snapshot, StepShape

# A duration, and the spaces around it and at the edges.
WIDTH_OF_TIMES = 14
# A lower terminal has no room for the line about labels and parents.
ROWS_FOR_ORIGIN = 8
WEIGHTS = {"created": "dim", "skipped": "dim", "failed": "bold"}
FOLDED_ENDED = {
    "completed": "{steps}",
    "skipped": "{count} skipped",
    "cancelled": "{count} cancelled",
}
FOLDED_URGENT = {
    "failed": "{count} more failed",
    "started": "{count} more running",
    "waiting": "{count} more waiting",
}
FOLDED_COMING = {"created": "{steps} to come"}
NOT_BEGUN = frozenset({"created", "skipped", "cancelled"})


def render_run(
    snapshot: Snapshot,
    frame: Frame,
    *,
    errors: Mapping[str, FailedAttempt] | None = None,
    hint: str | None = None,
    resume: str | None = None,
) -> Text:
    """Return the picture of a run with `hint` below it; `errors` has the last one of each step.

    `resume` is the command to show below a run that no worker works on.
    """
    context = row_context(snapshot, frame, errors)
    lines = [_head(snapshot, frame), _progress(snapshot, context)]
    if waits := own_reason(snapshot):
        lines.append([(f" {waits}", STYLES["waiting"])])
    if frame.height >= ROWS_FOR_ORIGIN:
        lines += _origin(snapshot["run"], frame)
    below: list[Line] = [[(f" {hint}", "dim")]] if hint else []
    if resume and is_left_alone(snapshot):
        below = [*_left_alone(resume, frame), *below]
    lines += _body(snapshot["steps"], context, frame.height - len(lines) - len(below))
    lines += below
    return _joined(lines[: frame.height], frame)


def _left_alone(resume: str, frame: Frame) -> list[Line]:
    """Return a line with the command that continues a run; two if it is too long for one."""
    if cells(f" {NO_WORKER}: {resume}") <= frame.width:
        return [[(f" {NO_WORKER}: ", "yellow"), (resume, "bold")]]
    return [[(f" {NO_WORKER}:", "yellow")], [(f" {resume}", "bold")]]


def _joined(lines: Sequence[Line], frame: Frame) -> Text:
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for words, style in fit_line(line, frame.width, frame.symbols.ellipsis):
            text.append(words, style)
    return text


def _head(snapshot: Snapshot, frame: Frame) -> Line:
    run, dot = snapshot["run"], frame.dot
    status = run_status(run, stopping=is_stopping(snapshot))
    took = duration(run_seconds(run, frame.now))
    name = one_line(run["flow"])
    usual = snapshot.get("usual_seconds")
    usually = f"{dot}usually {duration(usual)}" if usual is not None else ""
    version = f"version {run['version'][:8]}{dot}" if run["version"] else ""
    space = frame.width - 2 - cells(f"{name} {run['id'][:8]}{dot}{status}{took}")
    # What does not fit is left out, the version first.
    usually = usually if cells(usually) < space else ""
    version = version if cells(version + usually) < space else ""
    rest, took = f" {run['id'][:8]}{dot}{version}", took + usually
    space = max(space - cells(version + usually), 1)
    return [
        (f" {name}", "bold"),
        (rest, ""),
        (status, STYLES[run["outcome"] or run["status"]]),
        (" " * space + took, ""),
    ]


def _origin(run: RunShape, frame: Frame) -> list[Line]:
    """Return a line about the parent and the labels of a run, if it has any."""
    parent = run["parent"]
    phrases = [
        f"child of {parent['id'][:8]}, step {one_line(parent['step'])}" if parent else "",
        labels_text(run["labels"]),
    ]
    words = frame.dot.join(filter(None, phrases))
    return [[(f" {words}", "dim")]] if words else []


def _progress(snapshot: Snapshot, context: RowContext) -> Line:
    every, frame = snapshot["steps"], context.frame
    conditions = [context.condition(step) for step in every]
    done = [step for step in every if is_done(step, snapshot["run"])]
    ended = {step["slug"] for step in done}
    parts = (1.0 if step["slug"] in ended else _share(step) for step in every)
    share = sum(parts) / len(every) if every else 1.0
    tail = f"  {math.floor(share * 100)} %  {len(done):,} of {plural(len(every), 'step')}"
    room = max(frame.width - len(tail) - 2, 0)
    full = math.floor(room * share)
    failed = "failed" in conditions or snapshot["run"]["outcome"] == "failed"
    return [
        (" " + frame.symbols.bar * full, STYLES["failed" if failed else "completed"]),
        (frame.symbols.bar_rest * (room - full), "dim"),
        (tail, ""),
    ]


def _share(step: StepShape) -> float:
    return 0.99 * steps.share_completed(step) if step["tasks"]["total"] > 1 else 0.0


def _body(every: Sequence[StepShape], context: RowContext, budget: int) -> list[Line]:
    """Return the lines of the steps, with those of `finally` under a heading."""
    frame = context.frame
    max_depth = max(1, min(6, frame.width // 14))
    first = [step for step in every if not step["finally"]]
    last = [step for step in every if step["finally"]]
    one = _finally_line(last, frame) if last else []
    begun = bool(last) and not one
    # Steps of `finally` take one line until they run, then at most half of the budget.
    for_last = min(len(last) + 1, max(budget // 2, 2)) if begun else len(one)
    # Lines that must be read come before further rows.
    kept = min(len(urgent(every, context)), budget // 5)
    views = [picture(first, budget=budget - for_last - kept, max_depth=max_depth)]
    if begun:
        views.append(picture(last, budget=for_last - 1, max_depth=max_depth))
    folds = [_folds(view.folded, frame) for view in views]
    shown = [row.step for view in views for row in view.rows]
    used = len(shown) + sum(len(above) + len(below) for above, below in folds)
    under = notes(shown, context, budget - used - begun - len(one))
    names = [_names(view.rows, context, deeper=number) for number, view in enumerate(views)]
    column = max((width for _, width in names), default=0)
    lines: list[Line] = []
    for number, (view, (above, below)) in enumerate(zip(views, folds, strict=True)):
        lines += [[(" finally", "dim")]] if number else []
        rows = zip(view.rows, names[number][0], strict=True)
        lines += [*above, *_rows(rows, under, context=context, column=column), *below]
    return [*lines, *one][: max(budget, 0)]


def _finally_line(last: Sequence[StepShape], frame: Frame) -> list[Line]:
    """Return one line with the steps of `finally` while none of them has begun."""
    statuses = {step["status"] for step in last}
    if len(statuses) > 1 or not statuses <= NOT_BEGUN:
        return []
    status = statuses.pop()
    names = ", ".join(one_line(step["slug"]) for step in last)
    end = "" if status == "created" else f"{frame.dot}{status}"
    return [[(f" {frame.symbols.status[status]} finally: {names}{end}", STYLES[status])]]


def _width(name: Line) -> int:
    return cells("".join(part for part, _ in name))


def _rows(
    rows: Iterable[tuple[Row, Line]],
    under: Mapping[str, Sequence[Segment]],
    *,
    context: RowContext,
    column: int,
) -> Iterator[Line]:
    symbols = context.frame.symbols
    for row, name in rows:
        yield _step_line(row.step, name, column=column, context=context)
        # The lines of the tree continue under a row.
        tree = name[0][0].replace(symbols.branch, symbols.pipe).replace(symbols.last, symbols.gap)
        lead = tree + " " * cells(name[1][0]) + " " + symbols.note
        for note in under.get(row.step["slug"], ()):
            yield [(lead, "dim"), note]


def _folds(folded: Counter[str], frame: Frame) -> tuple[list[Line], list[Line]]:
    """Return lines with the numbers of folded steps: ended ones above the rows, others below."""

    def line(words: Mapping[str, str], style: str) -> list[Line]:
        parts = [
            f"{frame.symbols.status[status].strip()} "
            + text.format(count=f"{folded[status]:,}", steps=plural(folded[status], "step"))
            for status, text in words.items()
            if folded[status]
        ]
        return [[(f" {frame.dot.join(parts)}", style)]] if parts else []

    return line(FOLDED_ENDED, "dim"), line(FOLDED_URGENT, "bold") + line(FOLDED_COMING, "dim")


def _names(rows: Sequence[Row], context: RowContext, *, deeper: int) -> tuple[list[Line], int]:
    """Return the beginnings of rows, and the width of the widest one that keeps to its column."""
    frame, symbols = context.frame, context.frame.symbols
    names: list[Line] = []
    # Names get what the words beside them leave, and a third of the width at least. One with more
    # room in its own row is not cut, though its row then leaves the columns.
    beside = [cells(detail(row.step, context, frame.width)[0]) for row in rows]
    least = max(16, frame.width * 36 // 100)
    most = max(least, frame.width - WIDTH_OF_TIMES - max(beside, default=0))
    joints = connectors([row.depth + deeper for row in rows])
    for row, (outer, is_last), own in zip(rows, joints, beside, strict=True):
        lead = "".join(symbols.pipe if goes_on else symbols.gap for goes_on in outer)
        lead += (symbols.last if is_last else symbols.branch) if row.depth + deeper else ""
        condition = context.condition(row.step)
        symbol = symbols.status[condition]
        if condition == "started" and symbols.spinner:
            symbol = symbols.spinner[int(frame.now.timestamp() * 8) % len(symbols.spinner)]
        used, slug = cells(lead) + cells(symbol) + 1, one_line(row.step["slug"])
        if used + cells(slug) > frame.width - WIDTH_OF_TIMES - own:
            slug = fit(slug, max(most - used, 6), symbols.ellipsis)
        style = WEIGHTS.get(condition, "")
        names.append([(f" {lead}", "dim"), (symbol, STYLES[condition]), (f" {slug}", style)])
    return names, max((width for width in map(_width, names) if width <= most + 1), default=0)


def _step_line(step: StepShape, name: Line, *, column: int, context: RowContext) -> Line:
    frame = context.frame
    seconds = steps.seconds(step, frame.now)
    took = "" if seconds is None else duration(seconds)
    column, width = max(column, _width(name)), _width(name)
    lead = " " * (column - width) + f"{took:>9}"
    room = frame.width - column - max(len(took), 9) - 2
    words, style = detail(step, context, room)
    return [*name, (f"{lead}  " if words else lead.rstrip(), ""), (words, style)]
