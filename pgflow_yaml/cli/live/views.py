"""The views of a run in progress: JSON lines, nothing, the live picture, or lines for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from pgflow_yaml.cli.options import is_screen
from pgflow_yaml.cli.output import for_screens
from pgflow_yaml.runs.events import changes, current, line
from pgflow_yaml.runs.run import NO_WORKER, is_left_alone
from pgflow_yaml.runs.waits import all_awaited_events, answer_command
from pgflow_yaml.runs.why import own_reason
from pgflow_yaml.text import cells, moment

from .symbols import Frame, symbols_for

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from pgflow_yaml.cli.options import Options
    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot

CLOCK_TICK = 1.0

Show = Callable[["Snapshot | None", "Snapshot"], None]
View = AbstractContextManager[Show]


def view_for(options: Options, out: IO[str], *, hint: str, resume: str | None = None) -> View:
    """Return the view for the options and streams of a command.

    `resume` is a command to show while no worker is alive; None if one works in this process.
    """
    if options.json:
        return json_lines(out)
    if options.quiet:
        return silence()
    if is_screen(sys.stderr) and out.isatty():
        return picture(options, hint, resume)
    return plain_lines(resume)


@contextmanager
def silence() -> Iterator[Show]:
    """Show nothing."""
    yield lambda _before, _after: None


@contextmanager
def json_lines(out: IO[str]) -> Iterator[Show]:
    """Write each event as a line of JSON."""
    import json

    def show(before: Snapshot | None, after: Snapshot) -> None:
        out.writelines(json.dumps(event) + "\n" for event in changes(before, after))
        out.flush()

    yield show


@contextmanager
def plain_lines(resume: str | None = None) -> Iterator[Show]:
    """Write each event as a line for a log to stderr, and once each command for a person to run."""
    asked: set[tuple[str, str]] = set()
    was_alone = was_waiting = False

    def show(before: Snapshot | None, after: Snapshot) -> None:
        nonlocal was_alone, was_waiting
        longest = max((cells(step["slug"]) for step in after["steps"]), default=0)
        column = min(max(longest, 12), 24)
        sys.stderr.writelines(line(event, column) + "\n" for event in changes(before, after))
        for event in all_awaited_events(after):
            if (event["run_id"], event["step"]) not in asked:
                asked.add((event["run_id"], event["step"]))
                sys.stderr.write(f"to go on, in another terminal: {answer_command(event)}\n")
        waits = own_reason(after)
        if waits and not was_waiting:
            sys.stderr.write(f"waits: {waits}\n")
        was_waiting = bool(waits)
        alone = is_left_alone(after)
        if resume and alone != was_alone and after["run"]["status"] == "started":
            words = f"{NO_WORKER}: {resume}" if alone else "a worker is alive again"
            sys.stderr.write(f"{words}\n")
        was_alone = alone
        sys.stderr.flush()

    yield show


@contextmanager
def picture(options: Options, hint: str, resume: str | None) -> Iterator[Show]:
    """Redraw the picture of the run in place; its last frame stays in the scroll-back.

    Prints of handlers appear above it.
    """
    from rich.console import Console

    from .redrawing import Redrawn

    never = options.color == "never"
    console = Console(
        file=for_screens(sys.stderr),
        highlight=False,
        markup=False,
        emoji=False,
        no_color=never or None,
    )
    inside = hasattr(sys.stderr, "diverted")  # a worker runs handlers in this process
    live = Redrawn(
        console=console,
        auto_refresh=False,
        vertical_overflow="crop",
        redirect_stdout=not inside,
        redirect_stderr=not inside,
    )
    with handlers_above(console) if inside else nullcontext(), live:
        yield _Painter(console, live, hint, resume).show


@contextmanager
def handlers_above(console: Console) -> Iterator[None]:
    """Show prints of handlers above a picture.

    Rich would do so itself, but around the streams that mask and clean these prints.
    """
    from rich.file_proxy import FileProxy

    with ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            divert = getattr(stream, "diverted")  # noqa: B009 (of the streams for handlers)
            stack.enter_context(divert(FileProxy(console, for_screens(stream))))
        yield


@dataclass(slots=True)
class _Painter:
    console: Console
    live: Live
    hint: str
    resume: str | None
    errors: dict[str, FailedAttempt] = field(default_factory=dict)
    drawn_at: float = 0.0
    drawn_size: tuple[int, int] = (0, 0)

    def show(self, before: Snapshot | None, after: Snapshot) -> None:
        """Draw the run if a step or the terminal changed, or if its durations are out of date."""
        from .frame import render_run

        self.errors.update((error["step"], error) for error in current(after["errors"]))
        ended = after["run"]["status"] != "started"
        size = self.console.size
        same = (
            before is not None
            and size == self.drawn_size
            and before["steps"] == after["steps"]
            and is_left_alone(before) == is_left_alone(after)
            and not ended
        )
        if same and time.monotonic() - self.drawn_at < CLOCK_TICK:
            return
        self.drawn_at, self.drawn_size = time.monotonic(), size
        frame = Frame(
            width=size.width,
            height=max(size.height - 1, 1),
            now=moment(after["now"]),
            symbols=symbols_for(self.console.encoding),
        )
        drawn = render_run(
            after,
            frame,
            errors=self.errors,
            hint=None if ended else self.hint,
            resume=self.resume,
        )
        self.live.update(drawn, refresh=True)
