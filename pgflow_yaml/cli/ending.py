"""A run from now to its end: followed, concluded on stdout or stderr, turned into an exit code."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from .failures import BAD, TIMEOUT
from .finding import snapshot
from .live import TimeIsUp, follow
from .look import look_for
from .output import write_lines
from .screen import ended
from .words import clean, layout, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgflow_yaml.store import Store

    from .live import View
    from .options import Options
    from .shapes import FailedAttempt, Snapshot

PIPE_WIDTH = 160
LINES_ON_SCREEN = 40
ERRORS_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A run to follow: how it is shown, and for how long at most."""

    run_id: str
    view: View
    out: IO[str]
    timeout: float | None = None
    places: Mapping[str, str] = field(default_factory=dict)


def to_its_end(
    store: Store,
    followed: Followed,
    options: Options,
    *,
    check: Callable[[], None] = lambda: None,
) -> int:
    """Show a run until it ends, write its result and return the exit code of its outcome."""
    errors: deque[FailedAttempt] = deque(maxlen=ERRORS_KEPT)

    def fetch(after_error: int) -> Snapshot:
        seen = snapshot(store, followed.run_id, after_error=after_error, outputs=False)
        errors.extend(seen["errors"])
        return seen

    try:
        follow(fetch, followed.view, timeout=followed.timeout, check=check)
    except TimeIsUp:
        options.note(f"run goes on: pgflow-yaml watch {followed.run_id[:8]}")
        return TIMEOUT
    last = snapshot(store, followed.run_id)
    return _conclude(last, errors, options, followed=followed)


def _conclude(
    last: Snapshot, errors: Sequence[FailedAttempt], options: Options, *, followed: Followed
) -> int:
    out = followed.out
    completed = last["run"]["status"] == "completed"
    if options.json:
        out.write(json.dumps({"event": "result", **last, "errors": list(errors)}) + "\n")
    elif completed:
        text = layout(last["run"]["output"])
        out.write((_for_eyes(text, last["run"]["id"]) if out.isatty() else text) + "\n")
    else:
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else PIPE_WIDTH
        lines = ended(
            last,
            errors=errors,
            width=width,
            places=followed.places,
            folder=os.getcwd(),  # noqa: PTH109 (compared as text)
            look=look_for(sys.stderr.encoding),
        )
        write_lines([[], *lines], sys.stderr, options)
    out.flush()
    return 0 if completed else BAD


def _for_eyes(text: str, run_id: str) -> str:
    """Clean an output, and cut it so that the picture of the run stays on the screen."""
    lines = clean(text).split("\n")
    if len(lines) > LINES_ON_SCREEN:
        more = plural(len(lines) - LINES_ON_SCREEN, "more line")
        lines = [*lines[:LINES_ON_SCREEN], f"… and {more}: pgflow-yaml show {run_id[:8]} --json"]
    return "\n".join(lines)
