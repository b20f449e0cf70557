"""The calls that delete what is old: one method for each SQL function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypedDict

from pgflow_yaml.database.store.calls import Calls

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json


class PruneReply(TypedDict):
    """The reply of `pgflow.prune` and `pgflow.prune_due`: what one commit has deleted."""

    cursor: Json
    busy: bool
    runs: dict[str, int]
    tasks: int
    workers: int
    audit: int
    versions: int


class ArchivesReply(TypedDict):
    """The reply of `pgflow.prune_archives`: the messages that one commit has deleted."""

    cursor: str | None
    messages: dict[str, int]


class PruneCalls(Calls):
    """Delete what is old, one commit after another."""

    def prune_due(self, worker: str, cursor: Json) -> PruneReply:
        """Do the next part of a pass by the retention of the flows."""
        reply: PruneReply = self.ask(
            "select pgflow.prune_due(%s::uuid, %s::jsonb)", [worker, _text(cursor)]
        )
        return reply

    def prune(
        self, pruner: str, cursor: Json, *, flow: str | None, older: float | None, dry_run: bool
    ) -> PruneReply:
        """Do the next part of a pass that a person has asked for; `older` in seconds."""
        reply: PruneReply = self.ask(
            "select pgflow.prune(%s::uuid, %s::jsonb, %s, make_interval(secs => %s), %s)",
            [pruner, _text(cursor), flow, older, dry_run],
        )
        return reply

    def prune_archives(self, older: float, cursor: str | None, *, dry_run: bool) -> ArchivesReply:
        """Delete some archived messages that are older than so many seconds."""
        reply: ArchivesReply = self.ask(
            "select pgflow.prune_archives(make_interval(secs => %s), %s, %s)",
            [older, cursor, dry_run],
        )
        return reply


def _text(cursor: Json) -> str | None:
    return None if cursor is None else json.dumps(cursor)
