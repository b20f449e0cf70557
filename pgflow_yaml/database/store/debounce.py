"""Starts of which the last one counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.store.attempts import PATIENCE
from pgflow_yaml.database.store.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.database.store.connection import JoinedConnection


class DebounceCalls(Calls):
    """Start runs that begin when there has been no other start for a while."""

    def start_debounced(
        self,
        name: str,
        input_text: str,
        *,
        key: str | None,
        pause: float,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        trace: str | None = None,
        connection: JoinedConnection | None = None,
    ) -> dict[str, Any]:
        """Start a run, or change the one that waits for the pause; return as `start_run` does."""
        reply: dict[str, Any] = self.ask_in(
            connection,
            "select pgflow.start_debounced(%s, %s::jsonb, %s, make_interval(secs => %s), %s,"
            " %s::jsonb, %s)",
            [
                *(name, input_text, key, pause, version),
                *(json.dumps(dict(labels)) if labels else None, trace),
            ],
            repeatable=pause > 2 * PATIENCE,  # else the run may have begun meanwhile
        )
        return reply
