"""Following a run to its end: the loop over snapshots, the result and the exit code."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from pgflow_yaml.cli.failures import BAD, TIMEOUT
from pgflow_yaml.cli.output import escaped, for_screens, write_lines
from pgflow_yaml.client.lookup import snapshot
from pgflow_yaml.errors import PgflowError
from pgflow_yaml.runs.events import current
from pgflow_yaml.runs.run import is_left_alone
from pgflow_yaml.runs.snapshot import STATUS_PHRASES
from pgflow_yaml.text import clean, layout, plural

from .end_screen import Picture, ended, in_spite_of, no_picture
from .symbols import symbols_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.cli.options import Options
    from pgflow_yaml.client import Client
    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot

    from .views import View

# At most eight frames a second, and a change is seen within 300 ms; a slow database is asked less.
SHORTEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE_WHEN_SLOW = 0.125, 0.25, 2.0
ERRORS_A_SNAPSHOT, ERRORS_A_LOOK = 200, 5000
PIPE_WIDTH = 160
LINES_ON_SCREEN = 40
ERRORS_KEPT = 1000

Fetch = Callable[[int], "Snapshot"]


class TimeIsUp(Exception):
    """The timeout for following a run has passed; the run goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A run to follow: its view, the timeout, and the positions of its steps in the file.

    `resume` is the command that continues the run when no worker does.
    """

    run_id: str
    view: View
    out: IO[str]
    resume: str
    timeout: float | None = None
    positions: Callable[[], Mapping[str, str]] = dict
    picture: Picture = no_picture


def to_its_end(
    client: Client,
    followed: Followed,
    options: Options,
    *,
    check: Callable[[], None] = lambda: None,
) -> int:
    """Show a run until it ends, write its result and return the exit code of its outcome."""
    errors: deque[FailedAttempt] = deque(maxlen=ERRORS_KEPT)
    usual = client.usual_seconds(followed.run_id)

    def fetch(after_error: int) -> Snapshot:
        after = snapshot(
            client,
            followed.run_id,
            after_error=after_error,
            outputs=False,
            logs=True,
            run_input=False,
        )
        errors.extend(current(after["errors"]))
        return {**after, "usual_seconds": usual}

    def fetch_all() -> Snapshot:
        return {**snapshot(client, followed.run_id, logs=True), "usual_seconds": usual}

    try:
        follow(fetch, followed.view, timeout=followed.timeout, check=check)
    except TimeIsUp:
        last = fetch_all()
        if last["run"]["status"] == "started":
            if options.json:
                _write_result(last, errors, followed.out)
            return TIMEOUT
    else:
        last = fetch_all()
    return _conclude(last, errors, options, followed=followed)


def take_leave(client: Client, followed: Followed, options: Options) -> None:
    """Write a note with the command for a run that is followed no longer."""
    begin = followed.run_id[:8]
    try:
        last = snapshot(client, followed.run_id, outputs=False, run_input=False)
    except PgflowError:
        options.note(f"run is kept: {followed.resume}")
        return
    if last["run"]["status"] != "started":
        phrase = STATUS_PHRASES[last["run"]["status"]]
        options.note(f"run {phrase} meanwhile: pgflow-yaml show {begin}")
    elif is_left_alone(last):
        options.note(f"run is kept: {followed.resume}")
    else:
        options.note(f"run goes on: pgflow-yaml watch {begin}")


def follow(
    fetch: Fetch,
    view: View,
    *,
    timeout: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> Snapshot:
    """Show a run until it ends; return the last snapshot. `check` runs after each one."""
    deadline = time.monotonic() + timeout if timeout is not None else None
    before: Snapshot | None = None
    last_error, pause = 0, SHORTEST_PAUSE
    with view as show:
        while True:
            begin = time.monotonic()
            after = _look(fetch, last_error)
            cost = time.monotonic() - begin
            show(before, after)
            last_error = max((error["id"] for error in after["errors"]), default=last_error)
            more = len(after["errors"]) >= ERRORS_A_LOOK
            if after["run"]["status"] != "started" and not more:
                return after
            same = before is not None and before["steps"] == after["steps"]
            pause = min(pause * 1.3, LONGEST_PAUSE) if same else SHORTEST_PAUSE
            before = after
            check()
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeIsUp
            if not more:
                _sleep(max(pause, min(4 * cost, LONGEST_PAUSE_WHEN_SLOW)), deadline)


def _look(fetch: Fetch, after_error: int) -> Snapshot:
    """Return a snapshot with the next ERRORS_A_LOOK errors, be they more than SQL returns at once.

    The end of a step is so not told before the failures that led to it.
    """
    after = fetch(after_error)
    errors = after["errors"]
    while len(after["errors"]) >= ERRORS_A_SNAPSHOT and len(errors) < ERRORS_A_LOOK:
        after = fetch(errors[-1]["id"])
        errors = [*errors, *after["errors"]]
    return {**after, "errors": errors}


def _sleep(seconds: float, deadline: float | None) -> None:
    if deadline is not None:
        seconds = min(seconds, max(deadline - time.monotonic(), 0))
    time.sleep(seconds)


def _conclude(
    last: Snapshot, errors: Sequence[FailedAttempt], options: Options, *, followed: Followed
) -> int:
    out = followed.out
    completed = last["run"]["status"] == "completed"
    if options.json:
        _write_result(last, errors, out)
    elif completed:
        words = None if options.quiet else in_spite_of(last, symbols_for(sys.stderr.encoding))
        write_lines([words] if words else [], for_screens(sys.stderr), options)
        text = escaped(layout(last["run"]["output"]), getattr(out, "encoding", None))
        out.write((_for_eyes(text, last["run"]["id"]) if out.isatty() else text) + "\n")
    else:
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else PIPE_WIDTH
        lines = ended(
            last,
            errors=errors,
            width=width,
            positions=followed.positions(),
            picture=followed.picture,
            folder=os.getcwd(),  # noqa: PTH109 (compared as text)
            symbols=symbols_for(sys.stderr.encoding),
        )
        write_lines([[], *lines], for_screens(sys.stderr), options)
    out.flush()
    return 0 if completed else BAD


def _write_result(last: Snapshot, errors: Sequence[FailedAttempt], out: IO[str]) -> None:
    """Write the last line of `--json`: the whole snapshot, whether or not the run has ended."""
    out.write(json.dumps({"event": "result", **last, "errors": list(errors)}) + "\n")
    out.flush()


def _for_eyes(text: str, run_id: str) -> str:
    """Return an output cleaned, and cut so that the picture of the run stays on the screen."""
    lines = clean(text).split("\n")
    if len(lines) > LINES_ON_SCREEN:
        more = plural(len(lines) - LINES_ON_SCREEN, "more line")
        lines = [*lines[:LINES_ON_SCREEN], f"… and {more}: pgflow-yaml show {run_id[:8]} --json"]
    return "\n".join(lines)
