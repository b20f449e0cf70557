"""Deleting what is old, one short commit after another."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

from pgflow_yaml.client.results import Pruned

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.language.model import Json

_BUSY_SECONDS = 0.5
_OTHERS = ("tasks", "workers", "audit", "versions")


class PruneClient:
    """The calls of a client that delete what is old."""

    _store: Store

    def prune(
        self,
        *,
        flow: str | None = None,
        older_than: float | None = None,
        dry_run: bool = False,
        rest: float = 3.0,
        on_busy: Callable[[], None] = lambda: None,
    ) -> Pruned:
        """Delete ended runs that are older than their flow's retention; return what was deleted.

        With `flow`, only its runs; with `older_than` (seconds), those that ended so long ago,
        whatever their retention: runs that are kept for ever only if `flow` names their flow. With
        `dry_run`, count only. After each commit it rests, `rest` times as long as the commit took.
        While a worker or another client prunes, it waits, and calls `on_busy` first.
        """
        pruner = str(uuid4())
        cursor: Json = None
        runs: Counter[str] = Counter()
        others = Counter[str](dict.fromkeys(_OTHERS, 0))
        while True:
            began = time.monotonic()
            reply = self._store.prune(pruner, cursor, flow=flow, older=older_than, dry_run=dry_run)
            if reply["busy"]:
                on_busy()
                time.sleep(_BUSY_SECONDS)
                continue
            runs.update(reply["runs"])
            others.update(
                tasks=reply["tasks"],
                workers=reply["workers"],
                audit=reply["audit"],
                versions=reply["versions"],
            )
            cursor = reply["cursor"]
            if cursor is None:
                return Pruned(runs=dict(sorted(runs.items())), **others)
            if not dry_run:
                time.sleep(rest * (time.monotonic() - began))

    def prune_archives(self, older_than: float, *, dry_run: bool = False) -> dict[str, int]:
        """Delete archived messages of flows made by `create_flow`, `older_than` in seconds.

        Return the number of messages by queue. With `dry_run`, count only.
        """
        messages: Counter[str] = Counter()
        cursor: str | None = None
        while True:
            reply = self._store.prune_archives(older_than, cursor, dry_run=dry_run)
            messages.update(reply["messages"])
            cursor = reply["cursor"]
            if cursor is None:
                return dict(messages)
