"""The live view of a run: pure, from (snapshot, width, height, now) to a text for rich.

Folding comes before drawing, so that a frame of 2,000 steps costs as much as one of 40.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from pgflow_yaml.cli.text import cells, duration, fit, moment, one_line, plural

from .step_details import Segment, detail, error_words, step_kind, took
from .symbols import STYLES, Frame, Look
from .tree import Picture, Row, connectors, picture

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from .snapshot import FailedAttempt, RunShape, Snapshot, StepShape

HEADER_ROWS = 2
FINE = frozenset({"completed", "skipped"})


def render_run(
    snapshot: Snapshot,
    frame: Frame,
    *,
    errors: Mapping[str, FailedAttempt] | None = None,
    hint: str | None = None,
) -> Text:
    """Draw a run; `errors` has the last failed attempt of each step, `hint` is the bottom line."""
    body = frame.height - HEADER_ROWS - (1 if hint else 0)
    max_depth = max(1, min(6, frame.width // 14))
    view = picture(snapshot["steps"], budget=body, max_depth=max_depth)
    lines = [_head(snapshot["run"], frame), _progress(snapshot["steps"], frame)]
    lines += _body(view, frame, errors or {}, body)
    if hint:
        lines.append([(f" {hint}", "dim")])
    return _joined(lines[: frame.height], frame)


def _joined(lines: Sequence[Sequence[Segment]], frame: Frame) -> Text:
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        room = frame.width
        for words, style in line:
            cut = fit(words, room, frame.look.ellipsis)
            text.append(cut, style)
            room -= cells(cut)
            if room <= 0:
                break
    return text


def _head(run: RunShape, frame: Frame) -> list[Segment]:
    dot = f" {frame.look.dot} "
    status = "running" if run["status"] == "started" else run["status"]
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
        (status, STYLES[run["status"]]),
        (" " * space + took, ""),
    ]


def _progress(steps: Sequence[StepShape], frame: Frame) -> list[Segment]:
    fine = sum(step["status"] in FINE for step in steps)
    done = sum(_share(step) for step in steps)
    share = done / len(steps) if steps else 1.0
    tail = f"  {math.floor(share * 100)} %  {fine:,} of {plural(len(steps), 'step')}"
    room = max(frame.width - len(tail) - 2, 0)
    full = math.floor(room * share)
    failed = any(step["status"] == "failed" for step in steps)
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


def _body(
    view: Picture, frame: Frame, errors: Mapping[str, FailedAttempt], budget: int
) -> list[list[Segment]]:
    spare = budget - len(view.rows) - sum(map(bool, _fold_texts(view.folded, frame.look)))
    noted = _noted(view.rows, errors, spare)
    above, urgent, below = _fold_texts(view.folded, frame.look)
    lines = [[(f" {above}", "dim")]] if above else []
    names = _names(view.rows, frame)
    column = max((cells("".join(part for part, _ in name)) for name in names), default=0)
    for row, name in zip(view.rows, names, strict=True):
        lines.append(_step_line(row.step, name, column=column, errors=errors, frame=frame))
        if row.step["slug"] in noted:
            lead = _below(name[0][0], frame.look) + " " * cells(name[1][0]) + " " + frame.look.note
            lines.append([(lead, "dim"), (noted[row.step["slug"]], STYLES["failed"])])
    lines += [[(f" {text}", "bold")] for text in (urgent,) if text]
    lines += [[(f" {text}", "dim")] for text in (below,) if text]
    return lines[: max(budget, 0)]


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
    ]
    coming = part("created", f"{plural(folded['created'], 'step')} to come")
    return dot.join(filter(None, ended)), dot.join(filter(None, urgent)), coming


def _noted(rows: Sequence[Row], errors: Mapping[str, FailedAttempt], spare: int) -> dict[str, str]:
    """Choose the steps under which their error gets a line of its own: failed ones first."""
    candidates = sorted(
        (row.step for row in rows if row.step["status"] in {"failed", "started", "skipped"}),
        key=lambda step: (step["status"] != "failed", step["index"]),
    )
    notes: dict[str, str] = {}
    for step in candidates:
        words = error_words(step, errors.get(step["slug"]))
        if words and len(notes) < spare:
            notes[step["slug"]] = words
    return notes


def _names(rows: Sequence[Row], frame: Frame) -> list[list[Segment]]:
    look = frame.look
    names: list[list[Segment]] = []
    most = max(16, frame.width * 36 // 100)
    joints = connectors([row.depth for row in rows])
    for row, (outer, is_last) in zip(rows, joints, strict=True):
        lead = "".join(look.pipe if goes_on else look.gap for goes_on in outer)
        lead += (look.last if is_last else look.branch) if row.depth else ""
        kind = step_kind(row.step, frame.now)
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
    errors: Mapping[str, FailedAttempt],
    frame: Frame,
) -> list[Segment]:
    time = took(step, frame.now)
    used = cells("".join(part for part, _ in name))
    lead = " " * (column - used) + f"{time:>9}"
    room = frame.width - column - cells(lead) + (column - used) - 2
    words, style = detail(step, errors.get(step["slug"]), frame, room)
    return [*name, (f"{lead}  " if words else lead.rstrip(), ""), (words, style)]
