"""Waiting steps: send them the decisions of their mocks, and explain a run that is stuck."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from pgflow_yaml.errors import InvalidInput, PgflowError
from pgflow_yaml.language.inputs import form_problems
from pgflow_yaml.worker.calls import to_json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.runs.snapshot import Snapshot, WaitsShape
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
        self.refused: dict[tuple[str, str], str] = {}
        """Why a decision of a mock was refused, by run and step."""

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
            assert step["waits"] is not None
            self._plan(at, partial(self._send, key, step["waits"], play.decision))

    def _send(self, key: tuple[str, str], waits: WaitsShape, decision: Decision) -> None:
        run_id, slug = key
        text = None if decision.data is None else to_json_text(decision.data)
        approved = decision.kind == "approve"
        try:  # the step may have ended, as with decisions of people
            if decision.kind == "event":
                event = waits["event"] or ""
                self._store.send_event(run_id, event, data_text=text or "null", by=_TEST)
                return
            _check_answer(waits, decision, complete=approved)
            self._store.decide_step(
                *(run_id, slug),
                approved=approved,
                comment=decision.comment,
                by=decision.by or next(iter(waits.get("by", ())), _TEST),
                data_text=text,
            )
        except PgflowError as error:
            self.refused[key] = error.message


def _check_answer(waits: WaitsShape, decision: Decision, *, complete: bool) -> None:
    """Check the nested values of an answer, which the database does not."""
    if "form" in waits and decision.data is not None:
        problems = form_problems(waits["form"], decision.data, complete=complete)
        if problems:
            raise InvalidInput(problems=problems, subject="the answer")


def why_stuck(store: Store, snapshot: Snapshot, refused: Mapping[tuple[str, str], str]) -> str:
    """Return a sentence about the unfinished steps of a run in which nothing can happen.

    `refused` has the decisions that the database has refused.
    """
    reasons = "; ".join(_reasons(store, snapshot, refused)) or "the reason is unknown"
    return f"nothing can happen any more: {reasons}"


def _reasons(store: Store, snapshot: Snapshot, refused: Mapping[tuple[str, str], str]) -> list[str]:
    reasons = []
    run_id = snapshot["run"]["id"]
    for step in snapshot["steps"]:
        waits = step["waits"]
        if step["status"] == "created" and step["waiting_for"]:
            names = ", ".join(f'"{name}"' for name in step["waiting_for"])
            reasons.append(f'step "{step["slug"]}" waits for {names}')
        elif waits and waits["kind"] == "event":
            why = refused.get((run_id, step["slug"]))
            reasons.append(
                f'step "{step["slug"]}" waits for event "{waits["event"]}", '
                + (f"and its mock was refused: {why}" if why else "which no mock sends")
            )
        elif step["child"] and step["child"]["status"] == "started":
            for child in step["children"]:
                below = store.run_snapshot(child, outputs=False)
                if below is not None and below["run"]["status"] == "started":
                    inner = _reasons(store, below, refused)
                    reasons += [f"{step['slug']} › {reason}" for reason in inner]
    return reasons
