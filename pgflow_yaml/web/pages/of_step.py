"""Data of the pages about a step of a run: the run without its values, the step, why it waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.client import lookup
from pgflow_yaml.errors import NotFound
from pgflow_yaml.runs import steps
from pgflow_yaml.runs.failures import failure_handling
from pgflow_yaml.runs.remarks import remark
from pgflow_yaml.runs.shown import reason_sentences
from pgflow_yaml.text import moment
from pgflow_yaml.web.pages.of_run import run_id

if TYPE_CHECKING:
    from pgflow_yaml.runs.snapshot import Snapshot, StepShape
    from pgflow_yaml.web.asked import Asked


def outline(asked: Asked) -> Snapshot:
    """Return the snapshot of the run in the path without input and outputs."""
    run = run_id(asked)
    try:
        return asked.client.run_snapshot(run, outputs=False, run_input=False)
    except NotFound:
        raise NotFound(f"there is no run {run} in this database, or no more") from None


def step(asked: Asked) -> StepShape:
    """Return the step in the path; raises NotFound with a similar name."""
    return lookup.step(asked.once(outline), asked.params["step"])


def condition(asked: Asked) -> steps.Condition:
    """Return the condition of the step in the path."""
    run, state = asked.once(outline), asked.once(step)
    return steps.condition(state, moment(run["now"]), failure_handling(run).get(state["slug"]))


def why(asked: Asked) -> str:
    """Return why the step has not ended, or how, in the sentence of the page of the run."""
    run, state = asked.once(outline), asked.once(step)
    slug = state["slug"]
    if run["run"]["status"] == "started":
        sentences = reason_sentences(run, asked.client.why(run["run"]["id"]))
        if slug in sentences:
            return sentences[slug]
    return remark(state, steps.by_slug(run["steps"]), failure_handling(run).get(slug))


def watched(asked: Asked) -> str:
    """Return the name of the run for the stream."""
    return f"run:{asked.once(outline)['run']['id']}"
