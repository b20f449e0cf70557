"""The end of a run in words: failures and their positions, the input, and the next commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pgflow_yaml.runs import steps
from pgflow_yaml.runs.failures import (
    distinct,
    failed_steps,
    handled_failures,
    handled_sentence,
    raised_at,
)
from pgflow_yaml.runs.retrying import kept_by_retry, retry_command
from pgflow_yaml.runs.run import run_error, run_name, run_seconds
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

from .symbols import UNICODE, Line, Symbols

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.runs.snapshot import FailedAttempt, RunShape, Snapshot, StepShape

MOST_STEPS, MOST_ERRORS, LONGEST_MESSAGE = 3, 3, 2000
LABEL = 19
Picture = Callable[[str | None, str], Sequence[str]]
"""A function of a step and the message of its ExpressionError; returns the lines of a frame."""


def no_picture(_step: str | None, _message: str) -> Sequence[str]:
    """Return no lines, for a flow whose text is unknown."""
    return ()


def ended(
    snapshot: Snapshot,
    *,
    errors: Sequence[FailedAttempt],
    width: int,
    positions: Mapping[str, str],
    picture: Picture = no_picture,
    folder: str,
    symbols: Symbols = UNICODE,
) -> list[Line]:
    """Return the lines about a run that failed or was cancelled.

    `errors` are all known failed attempts, `positions` has file:line:col of steps; paths in traces
    are shown relative to `folder`. Code and input are cut to the width, messages are not.
    """
    run = snapshot["run"]
    handled = handled_failures(snapshot)
    failed = failed_steps(snapshot)
    lines = [_headline(snapshot, failed, symbols)]
    for step in failed[:MOST_STEPS]:
        own = [error for error in errors if error["step"] == step["slug"]]
        lines += _of_step(step, own, folder=folder, width=width, symbols=symbols)
        if frame := expression(step["slug"], own[-1] if own else step["error"], picture):
            lines += frame
        elif step["slug"] in positions:
            lines.append([(f"   {one_line(positions[step['slug']])}", "cyan")])
    if not failed and (reason := run_error(run["status"], run["error"])):
        lines.append([(f"   {fit(reason, LONGEST_MESSAGE)}", "red")])
        lines += expression(None, run["error"], picture)
    if len(failed) > MOST_STEPS:
        lines.append([(f"   and {plural(len(failed) - MOST_STEPS, 'more failed step')}", "")])
    lines += [[(f"   {handled_sentence(slug, by)}", "yellow")] for slug, by in handled.items()]
    run_input = [("   input   ", "dim"), (compact(run["input"]), "")]
    ways = [_retry(snapshot), *_commands(run, failed[:MOST_STEPS])]
    return [
        *lines,
        fit_line(run_input, width, symbols.ellipsis),
        [],
        *(
            fit_line(way, max(width, len(way[1][0]) + LABEL), symbols.ellipsis)
            for way in ways
            if way
        ),
    ]


def in_spite_of(snapshot: Snapshot, symbols: Symbols = UNICODE) -> Line | None:
    """Return the line about a run that completed although steps failed; None if none did."""
    sentences = [handled_sentence(*failure) for failure in handled_failures(snapshot).items()]
    if not sentences:
        return None
    mark, name = symbols.status["completed"].strip(), run_name(snapshot["run"])
    return [(f" {mark} {name} completed; {'; '.join(sentences)}", "yellow")]


def expression(slug: str | None, error: Mapping[str, Any] | None, picture: Picture) -> list[Line]:
    """Return the lines about a failed expression; empty for other errors or an unknown text."""
    if error is None or error["type"] != "ExpressionError":
        return []
    frame = picture(slug, error["message"])
    if not frame:
        return []
    position = one_line(frame[0].partition(": error[")[0])
    return [[(f"   {position}", "cyan")], *([(f"   {line}", "")] for line in frame[1:])]


def _commands(run: RunShape, failed: Sequence[StepShape]) -> list[Line]:
    """Return the lines with the commands that show more of a run and of its failed children."""
    which = f" --step {failed[0]['slug']}" if failed else ""
    children = [step["child"] for step in failed]
    failed_ids = [child["id"] for child in children if child and child["status"] == "failed"]
    commands = [f"pgflow-yaml show {run['id'][:8]}{which}"]
    if (spoken := next((step for step in failed if step.get("log")), None)) is not None:
        commands.insert(0, f"pgflow-yaml logs {run['id'][:8]} --step {spoken['slug']}")
    commands += [f"pgflow-yaml show {run_id[:8]}" for run_id in failed_ids]
    return [
        [_label("" if number else "look"), (command, "")] for number, command in enumerate(commands)
    ]


def _retry(snapshot: Snapshot) -> Line:
    """Return the line with the command that goes on; empty for a run that nothing retries."""
    command = retry_command(snapshot["run"])
    if command is None:
        return []
    kept = "" if snapshot["run"]["parent"] else kept_by_retry(snapshot)
    words = "fix and go on" if snapshot["run"]["status"] == "failed" else "go on"
    return [_label(words), (command, ""), (f"   (keeps: {kept})" if kept else "", "dim")]


def _label(words: str) -> tuple[str, str]:
    return (f"   {words:<13}   ".ljust(LABEL), "dim")


def _headline(snapshot: Snapshot, failed: Sequence[StepShape], symbols: Symbols) -> Line:
    run = snapshot["run"]
    words = f"{run_name(run)} {run['status']}"
    if run["ended_at"]:
        words += f" after {duration(run_seconds(run, moment(snapshot['now'])))}"
    if failed:
        parts = [f'step "{one_line(failed[0]["slug"])}" failed', steps.attempts(failed[0])]
        words += f": {', '.join(filter(None, parts))}"
    style = "bold red" if run["status"] == "failed" else "bold magenta"
    return [(f" {symbols.status[run['status']].strip()} {words}", style)]


def _of_step(
    step: StepShape,
    errors: Sequence[FailedAttempt],
    *,
    folder: str,
    width: int,
    symbols: Symbols,
) -> list[Line]:
    """Return the lines about the last errors of a step, each with the code that raised it."""
    handler = steps.action(step)
    if not errors:
        return [[(f"   {handler}: ", ""), (_error_text(step["error"] or {}), "red")]]
    lines: list[Line] = []
    for error in distinct(errors)[:MOST_ERRORS]:
        head = f"{handler}{steps.item(step, error)}"
        if lines and not steps.is_wide(step):
            head = f"attempt {error['attempt']}"
        lines.append([(f"   {head}: ", ""), (_error_text(error), "red")])
        code = _raised_at(error["trace"] or "", folder)
        lines += [fit_line(line, width, symbols.ellipsis) for line in code]
    said: list[Line] = [[(f"     {symbols.note}{text}", "dim")] for text in steps.log_texts(step)]
    return lines + [fit_line(line, width, symbols.ellipsis) for line in said]


def _raised_at(trace: str, folder: str) -> list[Line]:
    place = raised_at(trace, folder)
    if place is None:
        return []
    return [[(f"     {place[0]}", "cyan"), (f"     {place[1]}", "dim")]]


def _error_text(error: Mapping[str, object]) -> str:
    return fit(error_text(error), LONGEST_MESSAGE)
