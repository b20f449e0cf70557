"""The check of schedules: late, failing and paused ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.driver import Engine, literal
from tests.engine.timetables import MINUTE, plan
from tests.integration.patient import Patient, messages

if TYPE_CHECKING:
    import psycopg


@pytest.fixture
def patient(database: str, db: psycopg.Connection) -> Patient:
    """A fresh database."""
    return Patient(database, db)


def test_schedules_that_start_nothing_are_named(patient: Patient, db: psycopg.Connection) -> None:
    """Each with its remedy; a paused one is a warning only."""
    engine = Engine(db)
    fields = {"day": {"type": "string"}}
    plan(engine, {**MINUTE, "input": literal({})}, input=fields)
    assert patient.check("schedules").summary == "1 schedule, none is late"

    db.execute("update pgflow.schedules set next_at = now() - interval '10 minutes'")
    late = patient.check("schedules")
    assert late.status == "problem"
    assert messages(late) == [
        (
            'schedule "every 1m" of flow report is late by 10 min, although a worker is alive',
            "the logs of the workers say why",
        )
    ]
    engine.call("stop_worker", engine.worker)
    (gone,) = messages(patient.check("schedules"))
    assert gone[0].endswith("for no worker is alive")
    assert gone[1] == "pgflow-yaml worker"

    (seen,) = db.execute("select next_at from pgflow.schedules").fetchone() or ()
    query = "select pgflow.fire_schedule('report', 'every 1m', %s, array[%s], 0, 'tomorrow')"
    db.execute(query.encode(), [seen, seen])
    (failed,) = messages(patient.check("schedules"))
    assert failed[0].startswith(
        'the last tick of schedule "every 1m" of flow report started nothing'
    )
    assert "day" in failed[0]

    db.execute("update pgflow.schedules set last_problem = null")
    engine.call("pause_schedules", "report", None, "anna")
    engine.call("pause_queue", "report", "anna")
    paused = patient.check("schedules")
    assert paused.status == "warning"
    assert messages(paused) == [
        ('schedule "every 1m" of flow report is paused by anna', "pgflow-yaml resume report")
    ]
    queues = patient.check("queues")
    assert (queues.status, messages(queues)) == (
        "warning",
        [('queue "report" is paused by anna', "pgflow-yaml resume --queue report")],
    )
