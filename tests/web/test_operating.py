"""The pages for whoever is on call: queues, workers, failed steps, schedules, checks, pauses."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from pgflow_yaml.client import Client
from pgflow_yaml.errors import PgflowError

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works
    from tests.web.conftest import Site

CANARY = "<script>alert(1)</script>\x1b[31mred\x1b[0m"
NIGHTLY = """
flow: nightly
schedule:
  - {cron: "*/5 * * * *", timezone: UTC}
  - {cron: "0 3 * * *", timezone: UTC}
steps:
  pay: {handler: shop.pay, retry: 1}
"""


def test_pages_of_an_empty_database_say_what_to_do(site: Site) -> None:
    """They have no error, and stand for a viewer as well."""
    vera = site.browser("vera")
    queues = vera.get("/queues").text

    assert "No worker was heard from in the last day" in queues
    assert "pgflow-yaml worker</code> starts one" in queues
    assert "No failed step." in queues
    assert "No schedule: a flow with" in vera.get("/schedules").text
    for path in ("/queues?al=1", "/system?security=x", "/schedules?next=0", "/schedules?next=x"):
        assert vera.get(path).status_code == 400
    missing = vera.get("/schedules?flow=nightli")
    assert (missing.status_code, "there is no flow" in missing.text) == (404, True)


def test_queues_schedules_and_checks(works: Works, site: Site, db: psycopg.Connection) -> None:
    """One failed run for all: what is listed, the JSON of the commands, pauses and their audit."""
    works.app.write("shop.py", f"def pay(): raise ValueError({CANARY!r})\n")
    works.deploy(NIGHTLY)
    run = works.client.start("nightly").id
    works.drain()
    _what_failed_is_listed(works, site, run)
    _checks_are_those_of_doctor(site)
    _a_schedule_is_paused(works, site, db)
    _a_queue_is_paused(works, site)


def _what_failed_is_listed(works: Works, site: Site, run: str) -> None:
    vera = site.browser("vera")
    page, data = vera.get("/queues").text, vera.get("/queues.json").json()

    assert f'<a href="/runs/{run}/steps/pay">pay</a>' in page
    assert "ValueError: &lt;script&gt;alert(1)&lt;/script&gt;red" in page
    assert "built-in" not in page
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "Pause…" not in page
    assert data["failed"] == _json([row.as_json() for row in works.client.failed()])
    assert data["queues"] == _json([row.as_json() for row in works.client.list_queues()])
    assert "stopped" not in page
    assert "■</span> stopped" in vera.get("/queues?all=1").text


def _checks_are_those_of_doctor(site: Site) -> None:
    vera = site.browser("vera")
    page, data = vera.get("/system").text, vera.get("/system.json").json()

    assert {check["check"] for check in data["checks"]} >= {"versions", "queues", "invariants"}
    assert all(f'<th scope="row">{check["check"]}</th>' in page for check in data["checks"])
    assert "grants" not in page.partition("</table>")[0]
    assert '<th scope="row">grants</th>' in vera.get("/system?security=1").text


def _a_schedule_is_paused(works: Works, site: Site, db: psycopg.Connection) -> None:
    otto, vera = site.browser("otto"), site.browser("vera")
    page = otto.get("/schedules").text
    link = re.search(r'href="(/schedules/nightly/pause\?schedule=[^"]+)"', page)
    assert link
    assert "/pause" not in vera.get("/schedules").text
    assert page.count("<time") < vera.get("/schedules?flow=nightly&next=3").text.count("<time")
    assert vera.get("/schedules.json").json() == _json(
        [row.as_json() for row in works.client.list_schedules()]
    )
    asked = otto.get(link[1]).text
    name = re.search(r'name="schedule" value="([^"]+)"', asked)
    assert name
    assert asked.count("<code>") == 1

    reply = site.post(otto, "/schedules/nightly/pause", schedule=name[1])

    assert (reply.status_code, reply.headers["location"]) == (303, "/schedules")
    paused = {row.name: row.paused_by for row in works.client.list_schedules()}
    assert sorted(map(str, paused.values())) == ["None", "otto"]
    assert paused[name[1]] == "otto"
    assert f"nightly  {name[1]}  paused</p>" in otto.get("/schedules").text
    assert "paused by otto" in vera.get("/schedules").text
    audit = "select who from pgflow.audit where action like 'pause%'"
    assert db.execute(audit).fetchall() == [("otto",)]
    wrong = site.post(otto, "/schedules/nightly/resume", schedule=name[1], catchup="some")
    assert (wrong.status_code, "write none, last, all" in wrong.text) == (400, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "resume", Mock(side_effect=PgflowError("not now")))
        refused = site.post(otto, "/schedules/nightly/resume", catchup="last").text
        assert '<option value="last" selected>' in refused
    assert site.post(otto, "/schedules/nightly/resume", catchup="last").status_code == 303
    assert all(row.paused_at is None for row in works.client.list_schedules())
    for path in ("/schedules/nobody/pause", "/schedules/nightly/pause?schedule=x"):
        assert otto.get(path).status_code == 404


def _a_queue_is_paused(works: Works, site: Site) -> None:
    otto = site.browser("otto")
    [queue] = [row.queue for row in works.client.list_queues() if row.queue != "pgflow__timers"]
    assert f'href="/queues/{queue}/pause"' in otto.get("/queues").text
    assert "Workers stop claiming" in otto.get(f"/queues/{queue}/pause").text

    assert site.post(otto, f"/queues/{queue}/pause").headers["location"] == "/queues"

    assert f"queue {queue}  paused</p>" in otto.get("/queues").text
    assert "paused by otto" in otto.get("/queues").text
    assert site.post(otto, f"/queues/{queue}/resume").status_code == 303
    assert f"queue {queue}  resumed</p>" in otto.get("/queues").text
    assert otto.get("/queues/nobody/pause").status_code == 404


def _json(value: object) -> object:
    return json.loads(json.dumps(value, default=str))
