"""Points where a test can inject a fault; they do nothing unless a variable is set.

PGFLOW_YAML_FAILPOINTS maps points to actions: `before_commit=kill,after_claim=sleep:2`. Actions:
`kill` (as kill -9), `sleep:SECONDS`, `pause` (stops the process as SIGSTOP does), `raise`. `@N` at
the end means the Nth time only: `before_commit=kill@3`.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "PGFLOW_YAML_FAILPOINTS"
POINTS = (
    "after_claim",
    "before_handler",
    "after_handler",
    "before_tx_commit",
    "after_tx_commit",
    "before_commit",
    "after_commit",
    "heartbeat",
    "sweep",
    "drain",
    "fire",
)


class Injected(Exception):
    """The fault of a `raise` failpoint."""


def parse(text: str) -> dict[str, tuple[str, int]]:
    """Return the points of a setting: name -> (action, number of the time; 0 = each time)."""
    points: dict[str, tuple[str, int]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, rest = entry.partition("=")
        action, _, count = rest.partition("@")
        if not equals or name not in POINTS or (count and not count.isdecimal()):
            raise ValueError(f'{VARIABLE}: "{entry}" is not POINT=ACTION of {", ".join(POINTS)}')
        points[name] = (action, int(count or 0))
    return points


def _act(action: str, name: str) -> None:
    verb, _, argument = action.partition(":")
    if verb == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "pause":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif verb == "sleep":
        time.sleep(float(argument or 1))
    else:
        raise Injected(name)


def _armed(points: dict[str, tuple[str, int]]) -> Callable[[str], None]:
    hits: dict[str, int] = {}

    def reached(name: str) -> None:
        if name in points:
            action, number = points[name]
            hits[name] = hits.get(name, 0) + 1
            if number in (0, hits[name]):
                _act(action, name)

    return reached


def _nothing(name: str) -> None:
    """Do nothing."""


failpoint: Callable[[str], None] = (
    _armed(parse(os.environ[VARIABLE])) if os.environ.get(VARIABLE) else _nothing
)
