"""Waiting steps: send them the decisions of their mocks, and explain a run that is stuck."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.worker.calls import to_json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.runs.snapshot import Snapshot
    from pgflow_yaml.testing.model import Decision, Mock

_TEST = "test"
"""The sender of the events of mocks."""


class Waits:
    """Planner of the events, approvals and rejections of mocks; each is sent once."""

    def __init__(
        self,
        store: Store,
        mocks_of: Callable[[str], Mapping[str, Mock]],
        plan: Callable[[datetime, Callable[[], None]], None],
    ) -> None:
        self._store, self._mocks_of, self._plan = store, mocks_of, plan
        self._planned: set[tuple[str, str]] = set()

    def plan_decisions(self, snapshot: Snapshot) -> None:
        """Plan the decisions for the waiting steps of a run and of its child runs."""
        run_id = snapshot["run"]["id"]
        for step in snapshot["steps"]:
            for child in step["children"]:
                below = self._store.run_snapshot(child, outputs=False)
                if below is not None and below["run"]["status"] == "started":
                    self.plan_decisions(below)
            if step["status"] != "waiting" or step["action"] != "wait":
                continue
            mock = self._mocks_of(run_id).get(step["slug"])
            play = mock.plays[0] if mock and mock.plays else None
            key = (run_id, step["slug"])
            if play is None or play.decision is None or key in self._planned:
                continue
            self._planned.add(key)
            began = datetime.fromisoformat(step["started_at"] or snapshot["now"])
            at = began + timedelta(milliseconds=play.sleep)
            event = (step["waits"] and step["waits"]["event"]) or ""
            self._plan(at, partial(self._send, key, event, play.decision))

    def _send(self, key: tuple[str, str], event: str, decision: Decision) -> None:
        run_id, slug = key
        by = decision.by or _TEST
        with suppress(PgflowError):  # the step may have ended, as with decisions of people
            if decision.kind == "event":
                text = to_json_text(decision.data)
                self._store.send_event(run_id, event, data_text=text, by=_TEST)
            elif decision.kind == "approve":
                self._store.approve_step(run_id, slug, comment=decision.comment, by=by)
            else:
                self._store.reject_step(run_id, slug, comment=decision.comment, by=by)


def why_stuck(store: Store, snapshot: Snapshot) -> str:
    """Return a sentence about the unfinished steps of a run in which nothing can happen."""
    reasons = "; ".join(_reasons(store, snapshot)) or "the reason is unknown"
    return f"nothing can happen any more: {reasons}"


def _reasons(store: Store, snapshot: Snapshot) -> list[str]:
    reasons = []
    for step in snapshot["steps"]:
        waits = step["waits"]
        if step["status"] == "created" and step["waiting_for"]:
            names = ", ".join(f'"{name}"' for name in step["waiting_for"])
            reasons.append(f'step "{step["slug"]}" waits for {names}')
        elif waits and waits["kind"] == "event":
            reasons.append(
                f'step "{step["slug"]}" waits for event "{waits["event"]}", which no mock sends'
            )
        elif step["child"] and step["child"]["status"] == "started":
            for child in step["children"]:
                below = store.run_snapshot(child, outputs=False)
                if below is not None and below["run"]["status"] == "started":
                    reasons += [f"{step['slug']} › {reason}" for reason in _reasons(store, below)]
    return reasons
