"""The number of handlers that a worker runs at once, unless it is told how many."""

from __future__ import annotations

CONCURRENCY = 8
MOST_CALLS = 5000
"""Of an engine, whose own slots decide: the heartbeats of so many tasks are cheap (X-G6)."""
