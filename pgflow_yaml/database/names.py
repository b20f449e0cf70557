"""Names of flows, runs, steps and queues, at once or not at all."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import psycopg

_QUERY = "select pgflow.complete(%s, %s, %s)"


def complete(
    conninfo: str, kind: str, begun: str, *, of: str | None, seconds: float
) -> list[dict[str, Any]]:
    """Return {value, help} of names that begin with a text; none after so many seconds.

    Nothing is raised: a shell asks. `of` is the run of a step.
    """
    found: list[dict[str, Any]] = []

    def ask() -> None:
        with suppress(Exception), psycopg.connect(conninfo, autocommit=True) as connection:
            row = connection.execute(_QUERY, [kind, begun, of]).fetchone()
            found.extend(row[0] if row else [])

    # A thread, for libpq waits for a host that is silent for whole seconds; the program ends
    # without it.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return list(found)
