"""A client that retries failed runs, and lists and drops them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from pgflow_yaml.client.flows import FlowClient
from pgflow_yaml.client.inputs import as_json, checked_text, input_text
from pgflow_yaml.client.results import FailedStep, Retried, row_of
from pgflow_yaml.errors import PgflowError
from pgflow_yaml.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.client.results import StoredVersion
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.filters import FailureFilters


class RetryClient(FlowClient):
    """The methods of a client about failed runs."""

    def retry(  # noqa: PLR0913 (what a retry may be)
        self,
        run: str,
        *,
        steps: Sequence[str] = (),
        from_steps: Sequence[str] = (),
        only_failed: bool = False,
        input: object = None,  # noqa: A002 (the language's word)
        version: str | None = None,
        as_new: bool = False,
        by: str | None = None,
        dry_run: bool = False,
    ) -> Retried:
        """Run again what failed or was cancelled in a run that has ended, and all that follows.

        `run` is an id, or the key of the start. `steps`: only these failed steps; `from_steps`:
        these steps, whatever they are; `only_failed`: also what failed in spite of which the run
        went on. `input` is merged over the input of the run. `version` is another version, or
        "latest". `as_new` retries a copy of the run. `by` names the sender (default: the database's
        user). `dry_run` returns what a retry would do.
        """
        new = None if input is None else as_json(input)
        text = None if new is None else input_text(new)
        call = partial(
            self._store.retry_run,
            run,
            steps=steps,
            begin=from_steps,
            soft=only_failed,
            version=version,
            as_new=as_new,
            by=by,
        )
        if text is not None or version is not None:
            text = self._checked(call(input_text=text, dry_run=True), new)
        retried = row_of(Retried, call(input_text=text, dry_run=dry_run))
        if not dry_run:
            self.wake()
        return retried

    def _checked(self, plan: Mapping[str, Any], new: Json) -> str | None:
        """Return the text of the new input over the old one; None for no new input.

        Raise InvalidInput or PgflowError for what the database knows too little about.
        """
        before = self._store.run_snapshot(plan["run_id"], outputs=False)
        stored = self.get_definition(plan["flow"], plan["version"])
        if before is None or stored is None:
            return None if new is None else input_text(new)
        run = before["run"]
        if plan["differs"]:
            old_version = self.get_definition(run["flow"], run["version"])
            raise PgflowError(_differences(old_version, stored, plan))
        old = run["input"]
        merged = old if new is None else new
        if isinstance(old, dict) and isinstance(new, dict):
            merged = {**old, **new}
        text = checked_text(stored.definition, merged)
        return None if new is None else text

    def failed(
        self,
        *,
        limit: int = 20,
        runs: Sequence[str] | None = None,
        **filters: Unpack[FailureFilters],
    ) -> list[FailedStep]:
        """Return the failed steps of failed runs, the last one first; without dropped runs.

        The filters mean what they mean in `list_runs`, but `since` and `older` go by the time of
        the failure and `error` by the error of the step; `step` is its name. With `runs`, only
        those of these runs.
        """
        return [row_of(FailedStep, row) for row in self._store.list_failed(filters, limit, runs)]

    def drop_failed(self, run: str, *, by: str | None = None) -> bool:
        """Drop a failed run from the list of `failed`; False if it had been dropped.

        The run stays as it is. A retry that fails brings it back.
        """
        return bool(self._store.drop_failed(run, by=by)["dropped"])


def _differences(old: StoredVersion | None, new: StoredVersion, plan: Mapping[str, Any]) -> str:
    """Return the sentence about steps that differ, with their positions in both versions."""
    from pgflow_yaml.language.validation.positions import step_positions

    places: list[dict[str, str]] = [
        step_positions(f"{side.name}@{side.version[:8]}", side.source or "", side.name)
        for side in (old, new)
        if side is not None
    ]
    steps = [
        " and ".join(found[slug] for found in places if slug in found) or slug
        for slug in plan["differs"]
    ]
    listed = "; ".join(
        f'"{slug}" ({where})' if where != slug else f'"{slug}"'
        for slug, where in zip(plan["differs"], steps, strict=True)
    )
    return (
        f"run {plan['run_id'][:8]} cannot go on with version {new.version[:8]}, which differs in "
        f"{plural(len(steps), 'step')} that the retry keeps: {listed}; name the first one with "
        "--from, or retry with the version of the run"
    )
