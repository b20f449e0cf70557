"""The handlers of the chaos flows: each call leaves its lines in a journal of its own.

The journal is the file `journal` of the worker's folder. A line is written at once, so kill -9
cannot take it back: what a handler has done is known, whatever became of its result.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml import Context

_JOURNAL = os.open("journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


class Trouble(Exception):
    """The failure that a plan asks for."""


def _note(ctx: Context, what: str) -> None:
    line = [ctx.run_id, ctx.step, ctx.index, ctx.fence, what, os.getpid(), time.time()]
    os.write(_JOURNAL, (json.dumps(line) + "\n").encode())


@contextmanager
def _noted(ctx: Context) -> Iterator[None]:
    """Write a line at the begin and one at the end of a call."""
    _note(ctx, "begin")
    yield
    _note(ctx, "done")


def numbers(n: int, ctx: Context) -> dict[str, object]:
    """Return the items of a map."""
    with _noted(ctx):
        return {"value": list(range(n)), "fence": ctx.fence}


def work(value: object, ctx: Context, fails: int = 0, ms: int = 5) -> dict[str, object]:
    """Take some time; fail in the first `fails` attempts, which crashes do not count as."""
    with _noted(ctx):
        time.sleep(ms / 1000)
        if ctx.attempt <= fails:
            raise Trouble(f"attempt {ctx.attempt} of {fails} that fail")
        return {"value": value, "fence": ctx.fence}


def poll(index: int, ctx: Context) -> dict[str, object]:
    """Return the number of the round of a repeated step."""
    with _noted(ctx):
        return {"value": [index, ctx.iteration], "fence": ctx.fence}


def gate(ctx: Context) -> dict[str, object]:
    """Wait until a file appears, named by step and fence; with an odd index, fail then."""
    with _noted(ctx):
        while not Path(f"open-{ctx.step}-{ctx.fence}").exists():
            time.sleep(0.01)
        if ctx.fence == 1 and ctx.index % 2:
            raise Trouble("a failure that comes late")
        return {"value": ctx.index, "fence": ctx.fence}
