"""The ids of runs, as callers write them."""

from __future__ import annotations

from uuid import UUID

from pgflow_yaml.errors import NotFound


def checked_id(run_id: str) -> str:
    """Return an id as the database writes it; raise NotFound for what is none."""
    try:
        return str(UUID(run_id))
    except ValueError:
        raise no_run(run_id) from None


def no_run(run_id: str) -> NotFound:
    """Return the error about a run that the database does not have."""
    return NotFound(f"there is no run {run_id} in this database")
