"""Decisions of people about waiting steps: approve, reject, and list what waits for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgflow_yaml.client.inputs import as_json, input_text
from pgflow_yaml.client.results import Decision, json_of, row_of
from pgflow_yaml.errors import InvalidInput
from pgflow_yaml.language.inputs import form_problems
from pgflow_yaml.language.numbers import whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pgflow_yaml.database.store import Store
    from pgflow_yaml.database.store.connection import JoinedConnection
    from pgflow_yaml.language.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingStep:
    """Step that waits for an event, in a list: what it asks for, and whom.

    `form` has the schema of each field that a decision fills in; `by` the people and groups who may
    decide, None for everybody. `retries` counts those of the run.
    """

    run_id: str
    flow: str
    version: str | None
    key: str | None
    step: str
    event: str
    since: datetime
    until: datetime | None
    form: Mapping[str, Json] | None
    by: tuple[str, ...] | None
    remind_at: datetime | None
    retries: int

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `waiting` prints."""
        return json_of(self)


class DecisionClient:
    """The calls of a client about decisions. `run` is an id, or the key of the start."""

    _store: Store

    def list_waiting(self, *, limit: int = 100) -> list[WaitingStep]:
        """Return the steps of all live runs that wait for an event, the longest wait first."""
        return [row_of(WaitingStep, row) for row in self._store.waiting_events(limit)]

    def approve(
        self,
        run: str,
        step: str,
        comment: str | None = None,
        *,
        by: str | None = None,
        data: object = None,
        groups: Sequence[str] = (),
        conn: JoinedConnection | None = None,
    ) -> Decision:
        """Approve a step that waits for an event, or that will; the first decision counts.

        `data` fills in the form of the step; raises InvalidInput with every problem. `by` is the
        person who decides (default: the database's user), and `groups` are theirs: a step with `by`
        refuses others. The caller vouches for both.
        """
        return self._decide(
            *(run, step, data, conn), approved=True, comment=comment, by=by, groups=groups
        )

    def reject(
        self,
        run: str,
        step: str,
        comment: str | None = None,
        *,
        by: str | None = None,
        data: object = None,
        groups: Sequence[str] = (),
        conn: JoinedConnection | None = None,
    ) -> Decision:
        """Reject a step that waits for an event: it fails (`Rejected`). Otherwise as `approve`.

        No field of the form is required; those in `data` are kept with the decision.
        """
        return self._decide(
            *(run, step, data, conn), approved=False, comment=comment, by=by, groups=groups
        )

    def _decide(
        self,
        run: str,
        step: str,
        data: object,
        conn: JoinedConnection | None,
        *,
        approved: bool,
        **others: Any,
    ) -> Decision:
        text = None if data is None else self._answer_text(run, step, data, conn, complete=approved)
        row = self._store.decide_step(
            *(run, step), approved=approved, data_text=text, connection=conn, **others
        )
        if conn is None:
            self._store.wake()
        return row_of(Decision, row)

    def _answer_text(
        self, run: str, step: str, data: object, conn: JoinedConnection | None, *, complete: bool
    ) -> str:
        """Return the JSON text of an answer, its nested values checked, too.

        The database checks the top of each field, and everything that is not known here.
        """
        value = as_json(data)
        text = input_text(value)
        form = self._open_form(run, step, conn)
        if form is None:
            return text
        problems = form_problems(form, value, complete=complete)
        if problems:
            raise InvalidInput(problems=problems, subject="the answer")
        return input_text(whole({"properties": dict(form)}, value))

    def _open_form(
        self, run: str, step: str, conn: JoinedConnection | None
    ) -> Mapping[str, Json] | None:
        """Return the form of a step that nobody has decided yet; None if it is not known."""
        found = self._store.find_run(run)
        shown = (
            self._store.run_snapshot(found[0], outputs=False, connection=conn)
            if len(found) == 1
            else None
        )
        if shown is None or run not in (shown["run"]["id"], shown["run"]["key"]):
            return None
        if any(state["slug"] == step and state["answer"] for state in shown["steps"]):
            return None
        version = shown["run"]["version"]
        stored = self._store.get_definition(shown["run"]["flow"], version, connection=conn)
        body: dict[str, Any] = {} if stored is None else stored["definition"]
        steps = {**body.get("steps", {}), **body.get("finally", {})}
        form: Mapping[str, Json] | None = steps.get(step, {}).get("wait", {}).get("form")
        return form
