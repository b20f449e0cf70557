"""The page of a change of many runs: how far it is, and what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.text import plural
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.asked import Asked
    from pgflow_yaml.web.bulk import Job

_DONE = {"cancel": "cancelled", "retry": "retried"}


def _job(asked: Asked) -> Job:
    return asked.jobs.find(asked.params["job"])


def _read(asked: Asked) -> Mapping[str, Any]:
    job = asked.once(_job)
    return {"job": job, "many": plural(len(job.runs), "run")}


def _progress(asked: Asked) -> Mapping[str, Any]:
    job = asked.once(_job)
    ended, changed, refused = job.ended, job.changed, list(job.refused)
    status = "started" if not ended else "failed" if job.stopped or refused else "completed"
    return {
        **asked.once(_read),
        "status": status,
        "ended": ended,
        "changed": changed,
        "looked": changed + len(refused),
        "refused": refused,
        "done": _DONE[job.act],
    }


def _json(asked: Asked) -> object:
    """Return the results as `failed retry --json` prints those of its runs."""
    job = asked.once(_job)
    refused = dict(job.refused)
    return {
        "act": job.act,
        "by": job.by,
        "ended": job.ended,
        "stopped": job.stopped or None,
        "runs": [
            {"run_id": run, "done": run not in refused, "error": refused.get(run)}
            for run in job.runs[: job.changed + len(refused)]
        ],
    }


PAGE = Page(
    path="/bulk/{job}",
    name="bulk",
    read=_read,
    json=_json,
    parts={"progress": Part(read=_progress, watch=lambda asked: asked.once(_job).watched)},
)
