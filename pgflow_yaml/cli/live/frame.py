"""The live view of a run: pure, from (snapshot, width, height, now) to a text for rich.

Folding comes before drawing, so that a frame of 2,000 steps costs as much as one of 40.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from pgflow_yaml.runs.snapshot import ENDED
from pgflow_yaml.text import (
    cells,
    duration,
    fit,
    fit_line,
    labels_text,
    moment,
    one_line,
    plural,
)

from .notes import notes, urgent
from .step_details import Scene, Segment, detail, scene, took
from .symbols import STYLES, Frame, Look
from .tree import Picture, Row, connectors, picture

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.runs.snapshot import FailedAttempt, RunShape, Snapshot, StepShape

HEADER_ROWS = 2
# A lower terminal has no room for the line about labels and parents.
ROWS_FOR_ORIGIN = 8
FINE = frozenset({"completed", "skipped"})
NOT_BEGUN = frozenset({"created", "skipped", "cancelled"})


def render_run(
    snapshot: Snapshot,
    frame: Frame,
    *,
    errors: Mapping[str, FailedAttempt] | None = None,
    hint: str | None = None,
) -> Text:
    """Draw a run; `errors` has the last failed attempt of each step, `hint` is the bottom line."""
    around = scene(snapshot, frame, errors)
    lines = [_head(snapshot, frame), _progress(snapshot, around)]
    if frame.height >= ROWS_FOR_ORIGIN:
        lines += _origin(snapshot["run"], frame)
    body = frame.height - len(lines) - (1 if hint else 0)
    lines += _body(snapshot["steps"], around, body)
    if hint:
        lines.append([(f" {hint}", "dim")])
    return _joined(lines[: frame.height], frame)


def _joined(lines: Sequence[Sequence[Segment]], frame: Frame) -> Text:
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for words, style in fit_line(line, frame.width, frame.look.ellipsis):
            text.append(words, style)
    return text


def _head(snapshot: Snapshot, frame: Frame) -> list[Segment]:
    run = snapshot["run"]
    dot = f" {frame.look.dot} "
    status = _status_words(snapshot)
    begun = run["started_at"] or run["created_at"]
    end = moment(run["ended_at"]) if run["ended_at"] else frame.now
    took = duration((end - moment(begun)).total_seconds())
    name, rest = (
        one_line(run["flow"]),
        f" {run['id'][:8]}{dot}version {run['version'][:8]}{dot}",
    )
    space = frame.width - 2 - cells(name + rest + status) - len(took)
    if space < 1:
        rest, space = f" {run['id'][:8]}{dot}", 1
    return [
        (f" {name}", "bold"),
        (rest, ""),
        (status, STYLES[run["outcome"] or run["status"]]),
        (" " * space + took, ""),
    ]


def _status_words(snapshot: Snapshot) -> str:
    """Say how a run is; how it ends is known before its `finally` steps have run."""
    run = snapshot["run"]
    if run["status"] != "started":
        return run["status"]
    if not run["outcome"]:
        return "running"
    ended = all(step["status"] in ENDED for step in snapshot["steps"] if not step["finally"])
    return f"{run['outcome']}, {'finally runs' if ended else 'stopping'}"


def _origin(run: RunShape, frame: Frame) -> list[list[Segment]]:
    """Say whose child a run is and which labels it has, on a line if there is anything to say."""
    parent = run["parent"]
    words = [
        f"child of {parent['id'][:8]}, step {one_line(parent['step'])}" if parent else "",
        labels_text(run["labels"]),
    ]
    told = f" {frame.look.dot} ".join(filter(None, words))
    return [[(f" {told}", "dim")]] if told else []


def _progress(snapshot: Snapshot, around: Scene) -> list[Segment]:
    steps, frame = snapshot["steps"], around.frame
    kinds = [around.kind(step) for step in steps]
    fates = [around.fates.get(step["slug"]) for step in steps]
    handled = [bool(fate and fate.kind == "handled") for fate in fates]
    fine = sum(handled) + sum(kind in FINE for kind in kinds)
    done = sum(handled) + sum(_share(step) for step in steps)
    share = done / len(steps) if steps else 1.0
    tail = f"  {math.floor(share * 100)} %  {fine:,} of {plural(len(steps), 'step')}"
    room = max(frame.width - len(tail) - 2, 0)
    full = math.floor(room * share)
    failed = "failed" in kinds or snapshot["run"]["outcome"] == "failed"
    return [
        (" " + frame.look.bar * full, STYLES["failed" if failed else "completed"]),
        (frame.look.bar_rest * (room - full), "dim"),
        (tail, ""),
    ]


def _share(step: StepShape) -> float:
    if step["status"] in FINE:
        return 1.0
    total = step["tasks"]["total"]
    return 0.99 * step["tasks"]["completed"] / total if total > 1 else 0.0


def _body(steps: Sequence[StepShape], around: Scene, budget: int) -> list[list[Segment]]:
    """Draw the steps, and those of `finally` under a line of their own."""
    frame = around.frame
    max_depth = max(1, min(6, frame.width // 14))
    last = [step for step in steps if step["finally"]]
    one = _finally_line(last, frame) if last else []
    begun = bool(last) and not one
    # Until they run they take one line; then at most half of the room, which they need.
    for_last = min(len(last) + 1, max(budget // 2, 2)) if begun else len(one)
    first = [step for step in steps if not step["finally"]]
    # What must be read is worth more than another row.
    kept = min(len(urgent(steps, around)), budget // 5)
    view = picture(first, budget=budget - for_last - kept, max_depth=max_depth)
    views = [view]
    if begun:
        views.append(picture(last, budget=for_last - 1, max_depth=max_depth))
    used = sum(
        len(each.rows) + sum(map(bool, _fold_texts(each.folded, frame.look))) for each in views
    )
    rows = [row.step for each in views for row in each.rows]
    below = notes(rows, around, budget - used - begun - len(one))
    named = [_names(each.rows, around, deeper=number) for number, each in enumerate(views)]
    column = max((_width(name) for names in named for name in names), default=0)
    lines = _section(view, named[0], below, around=around, column=column)
    if begun:
        lines.append([(" finally", "dim")])
        lines += _section(views[1], named[1], below, around=around, column=column)
    return [*lines, *one][: max(budget, 0)]


def _finally_line(steps: Sequence[StepShape], frame: Frame) -> list[list[Segment]]:
    """Name the steps of `finally` on one line while none of them has begun."""
    statuses = {step["status"] for step in steps}
    if len(statuses) > 1 or not statuses <= NOT_BEGUN:
        return []
    status = statuses.pop()
    names = ", ".join(one_line(step["slug"]) for step in steps)
    end = "" if status == "created" else f" {frame.look.dot} {status}"
    return [[(f" {frame.look.symbols[status]} finally: {names}{end}", STYLES[status])]]


def _width(name: Sequence[Segment]) -> int:
    return cells("".join(part for part, _ in name))


def _section(
    view: Picture,
    names: Sequence[Sequence[Segment]],
    below: Mapping[str, Sequence[Segment]],
    *,
    around: Scene,
    column: int,
) -> list[list[Segment]]:
    look = around.frame.look
    ended, urgent, coming = _fold_texts(view.folded, look)
    lines: list[list[Segment]] = [[(f" {ended}", "dim")]] if ended else []
    for row, name in zip(view.rows, names, strict=True):
        lines.append(_step_line(row.step, name, column=column, around=around))
        lead = _below(name[0][0], look) + " " * cells(name[1][0]) + " " + look.note
        lines += [[(lead, "dim"), note] for note in below.get(row.step["slug"], ())]
    lines += [[(f" {text}", "bold")] for text in (urgent,) if text]
    lines += [[(f" {text}", "dim")] for text in (coming,) if text]
    return lines


def _fold_texts(folded: Counter[str], look: Look) -> tuple[str, str, str]:
    """Say what is folded: what has ended, what is urgent, what is to come."""
    dot = f" {look.dot} "

    def part(status: str, words: str) -> str:
        return f"{look.symbols[status].strip()} {words}" if folded[status] else ""

    ended = [
        part("completed", plural(folded["completed"], "step")),
        part("skipped", f"{folded['skipped']:,} skipped"),
        part("cancelled", f"{folded['cancelled']:,} cancelled"),
    ]
    urgent = [
        part("failed", f"{folded['failed']:,} more failed"),
        part("started", f"{folded['started']:,} more running"),
        part("waiting", f"{folded['waiting']:,} more waiting"),
    ]
    coming = part("created", f"{plural(folded['created'], 'step')} to come")
    return dot.join(filter(None, ended)), dot.join(filter(None, urgent)), coming


def _names(rows: Sequence[Row], around: Scene, *, deeper: int) -> list[list[Segment]]:
    frame, look = around.frame, around.frame.look
    names: list[list[Segment]] = []
    most = max(16, frame.width * 36 // 100)
    joints = connectors([row.depth + deeper for row in rows])
    for row, (outer, is_last) in zip(rows, joints, strict=True):
        lead = "".join(look.pipe if goes_on else look.gap for goes_on in outer)
        lead += (look.last if is_last else look.branch) if row.depth + deeper else ""
        kind = around.kind(row.step)
        symbol = look.symbols[kind]
        if kind == "started" and look.spinner:
            symbol = look.spinner[int(frame.now.timestamp() * 8) % len(look.spinner)]
        room = max(most - cells(lead) - cells(symbol) - 1, 6)
        slug = fit(one_line(row.step["slug"]), room, look.ellipsis)
        names.append([(f" {lead}", "dim"), (symbol, STYLES[kind]), (f" {slug}", _weight(kind))])
    return names


def _weight(kind: str) -> str:
    return "dim" if kind in {"created", "skipped"} else "bold" if kind == "failed" else ""


def _below(lead: str, look: Look) -> str:
    """Continue the lines of the tree under a row."""
    return lead.replace(look.branch, look.pipe).replace(look.last, look.gap)


def _step_line(
    step: StepShape,
    name: Sequence[Segment],
    *,
    column: int,
    around: Scene,
) -> list[Segment]:
    frame = around.frame
    time = took(step, frame.now)
    used = _width(name)
    lead = " " * (column - used) + f"{time:>9}"
    room = frame.width - column - cells(lead) + (column - used) - 2
    words, style = detail(step, around, room)
    return [*name, (f"{lead}  " if words else lead.rstrip(), ""), (words, style)]
