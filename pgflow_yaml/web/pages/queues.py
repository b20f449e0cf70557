"""The page for whoever is on call: the queues, the workers, the failed steps of all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.runs.listed import queue_count, queue_note, worker_busy, worker_queues
from pgflow_yaml.text import error_text
from pgflow_yaml.web.live.watcher import RUNS
from pgflow_yaml.web.pages import queries
from pgflow_yaml.web.table import Page, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.asked import Asked

FAILED_SHOWN = 50
COUNTS = ("visible", "leased", "parked")


def _every(asked: Asked) -> bool:
    """Return true if also stopped and long silent workers are asked for."""
    queries.check(asked, ("all",))
    return queries.choice(asked, "all", ("1",)) == "1"


def _json(asked: Asked) -> object:
    """Return what `queues`, `workers` and `failed` print."""
    client, every = asked.client, asked.once(_every)
    return {
        "queues": [each.as_json() for each in client.list_queues()],
        "workers": [each.as_json() for each in client.list_workers(every=every)],
        "failed": [each.as_json() for each in client.failed(limit=FAILED_SHOWN)],
    }


def _read(asked: Asked) -> Mapping[str, Any]:
    return {"every": asked.once(_every), "command": "pgflow-yaml queues"}


def _queues(asked: Asked) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = [each.as_json() for each in asked.client.list_queues()]
    rows = [
        {
            "queue": queue,
            "counts": {name: queue_count(queue, name) for name in (*COUNTS, "workers")},
            "note": queue_note(queue),
        }
        for queue in found
    ]
    return {"rows": rows}


def _workers(asked: Asked) -> Mapping[str, Any]:
    found = asked.client.list_workers(every=asked.once(_every))
    workers: list[Mapping[str, Any]] = [each.as_json() for each in found]
    rows = [
        {"worker": worker, "busy": worker_busy(worker), "queues": worker_queues(worker)}
        for worker in workers
    ]
    return {**asked.once(_read), "rows": rows}


def _failed(asked: Asked) -> Mapping[str, Any]:
    found = [each.as_json() for each in asked.client.failed(limit=FAILED_SHOWN)]
    rows = [{"failed": row, "error": error_text(row)} for row in found]
    return {"rows": rows, "most": FAILED_SHOWN}


PAGE = Page(
    path="/queues",
    name="queues",
    nav="Queues",
    read=_read,
    json=_json,
    parts={
        "queues": Part(read=_queues, watch=lambda _: RUNS),
        "workers": Part(read=_workers, watch=lambda _: RUNS),
        "failed": Part(read=_failed, watch=lambda _: RUNS),
    },
)
