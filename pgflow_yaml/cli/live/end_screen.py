"""The end of a run in words: what failed, where, with which input, and what to do now."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pgflow_yaml.runs.events import run_error
from pgflow_yaml.runs.failures import fates, handled
from pgflow_yaml.runs.steps import is_wide
from pgflow_yaml.runs.waits import action_words
from pgflow_yaml.text import (
    compact,
    duration,
    error_text,
    fit,
    fit_line,
    moment,
    one_line,
    plural,
)

from .step_details import Segment
from .symbols import UNICODE, Look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import FailedAttempt, RunShape, Snapshot, StepShape

MOST_STEPS, MOST_ERRORS, LONGEST_MESSAGE = 3, 3, 2000
_FRAME = re.compile(
    r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>.+)$', re.MULTILINE
)

Line = list[Segment]
Picture = Callable[[str | None, str], Sequence[str]]
"""From a step and the message of its ExpressionError to lines that show the expression."""


def no_picture(_step: str | None, _message: str) -> Sequence[str]:
    """Show nothing: the text of the flow is not at hand."""
    return ()


def ended(
    snapshot: Snapshot,
    *,
    errors: Sequence[FailedAttempt],
    width: int,
    places: Mapping[str, str],
    picture: Picture = no_picture,
    folder: str,
    look: Look = UNICODE,
) -> list[Line]:
    """Say how a run that did not complete has ended.

    `errors` are all known failed attempts, `places` has file:line:col of steps, `folder` is what
    paths in traces are shown relative to. Code and input are cut to the width, messages are not.
    """
    run = snapshot["run"]
    fate = fates(snapshot)
    failed = [step for step in snapshot["steps"] if step["status"] == "failed"]
    caught = [step for step in failed if fate[step["slug"]].kind == "handled"]
    failed = _run_ends_with(run, [step for step in failed if step not in caught])
    lines = [_headline(run, failed, look)]
    for step in failed[:MOST_STEPS]:
        own = [error for error in errors if error["step"] == step["slug"]]
        lines += _of_step(step, own, folder=folder, width=width, look=look)
        if shown := expression(step["slug"], own[-1] if own else step["error"], picture):
            lines += shown
        elif step["slug"] in places:
            lines.append([(f"   {one_line(places[step['slug']])}", "cyan")])
    if not failed and (reason := run_error(run)):
        lines.append([(f"   {fit(reason, LONGEST_MESSAGE)}", "red")])
        lines += expression(None, run["error"], picture)
    if len(failed) > MOST_STEPS:
        lines.append([(f"   and {plural(len(failed) - MOST_STEPS, 'more failed step')}", "")])
    lines += [
        [(f"   {_handled(step['slug'], fate[step['slug']].by)}", "yellow")] for step in caught
    ]
    given = [("   input   ", "dim"), (compact(run["input"]), "")]
    lines.append(fit_line(given, width, look.ellipsis))
    lines.append([])
    which = f" --step {failed[0]['slug']}" if failed else ""
    lines.append([("   look    ", "dim"), (f"pgflow-yaml show {run['id'][:8]}{which}", "")])
    lines += [
        [("           ", ""), (f"pgflow-yaml show {step['child']['id'][:8]}", "")]
        for step in failed[:MOST_STEPS]
        if step["child"] and step["child"]["status"] == "failed"
    ]
    return lines


def in_spite_of(snapshot: Snapshot, look: Look = UNICODE) -> Line | None:
    """Say that a run has completed although steps failed, or nothing if none did."""
    caught = handled(snapshot)
    if not caught:
        return None
    told = "; ".join(_handled(slug, by) for slug, by in caught.items())
    words = f" {look.symbols['completed'].strip()} {_name(snapshot['run'])} completed; {told}"
    return [(words, "yellow")]


def _handled(slug: str, by: Sequence[str]) -> str:
    return f'the failure of "{one_line(slug)}" was handled by {", ".join(map(one_line, by))}'


def _run_ends_with(run: RunShape, failed: Sequence[StepShape]) -> list[StepShape]:
    """Put the step first whose failure is that of the run."""
    named = (run["error"] or {}).get("step")
    return sorted(failed, key=lambda step: step["slug"] != named)


def _name(run: RunShape) -> str:
    return f"{one_line(run['flow'])} {run['id'][:8]}"


def expression(slug: str | None, error: Mapping[str, Any] | None, picture: Picture) -> list[Line]:
    """Show the expression that had no value, if that is what went wrong and the text is known."""
    if error is None or error["type"] != "ExpressionError":
        return []
    shown = picture(slug, error["message"])
    if not shown:
        return []
    place = one_line(shown[0].partition(": error[")[0])
    return [[(f"   {place}", "cyan")], *([(f"   {line}", "")] for line in shown[1:])]


def _headline(run: RunShape, failed: Sequence[StepShape], look: Look) -> Line:
    took = ""
    if run["ended_at"]:
        begun = moment(run["started_at"] or run["created_at"])
        took = f" after {duration((moment(run['ended_at']) - begun).total_seconds())}"
    words = f"{_name(run)} {run['status']}{took}"
    if failed:
        words += f': step "{one_line(failed[0]["slug"])}" failed{_tries(failed[0])}'
    style = "bold red" if run["status"] == "failed" else "bold magenta"
    return [(f" {look.symbols[run['status']].strip()} {words}", style)]


def _tries(step: StepShape) -> str:
    if is_wide(step):
        return f", {step['tasks']['failed']:,} of {plural(step['tasks']['total'], 'item')}"
    return f", {step['attempts']} of {step['max_attempts']} attempts" if step["attempts"] else ""


def _of_step(
    step: StepShape, errors: Sequence[FailedAttempt], *, folder: str, width: int, look: Look
) -> list[Line]:
    """Say the handler's last errors, each with the line of code that raised it."""
    handler = action_words(step)
    if not errors:
        return [[(f"   {handler}: ", ""), (_error_text(step["error"] or {}), "red")]]
    # The same error again says nothing new: keep the latest of each.
    latest = {(each["index"], _error_text(each)): each for each in sorted(errors, key=_by_id)}
    lines: list[Line] = []
    for each in sorted(latest.values(), key=_by_id, reverse=True)[:MOST_ERRORS]:
        head = f"{handler}[{each['index']}]" if is_wide(step) else handler
        if lines and not is_wide(step):
            head = f"attempt {each['attempt']}"
        lines.append([(f"   {head}: ", ""), (_error_text(each), "red")])
        code = _raised_at(each["trace"] or "", folder)
        lines += [fit_line(line, width, look.ellipsis) for line in code]
    return lines


def _by_id(error: FailedAttempt) -> int:
    return error["id"]


def _raised_at(trace: str, folder: str) -> list[Line]:
    found = list(_FRAME.finditer(trace))
    if not found:
        return []
    frame = found[-1]
    code = trace[frame.end() :].lstrip("\n").split("\n", 1)[0].strip()
    file = frame["file"].removeprefix(folder.rstrip("/") + "/")
    place = f"     {one_line(file)}:{frame['line']} in {one_line(frame['name'])}"
    return [[(place, "cyan"), (f"     {one_line(code)}", "dim")]]


def _error_text(error: Mapping[str, object]) -> str:
    return fit(error_text(error), LONGEST_MESSAGE)
