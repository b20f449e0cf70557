"""Decide by pages: the list of what waits, the form of a step, who may fill it in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from pgflow_yaml.web.asking import texts_of
from pgflow_yaml.web.pages import waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fixtures.working import Works
    from tests.web.conftest import Site

CANARY = "<script>\x1b[31mred"
PAYOUT = """
    flow: payout
    steps:
      approve:
        wait:
          event: approval
          form:
            reason: {type: string, title: "Why <b>", description: "<i>for the books"}
            granted: {type: number, minimum: 0}
            account: {enum: [main, reserve], default: main}
            parts: {type: array, items: {type: integer}, default: []}
          by: [ada, finance]
"""


@pytest.fixture
def payout(works: Works) -> str:
    """The id of a run that asks two groups for an answer."""
    works.deploy(PAYOUT)
    return works.client.start("payout", key=CANARY).id


def test_what_waits_is_listed_with_a_way_to_decide(
    works: Works, site: Site, payout: str, run: str
) -> None:
    """For those who may; JSON as `waiting` prints it."""
    ways = [f"/runs/{payout}/steps/approve/approve", f"/runs/{run}/steps/go_live/reject"]
    ways.append(f"/runs/{run}/steps/go_live/approve")
    otto, vera = (site.browser(name).get("/waiting").text for name in ("otto", "vera"))

    assert all(f'href="{way}"' in otto for way in ways)
    assert f"/runs/{payout}/steps" not in vera
    assert "ada or finance" in vera
    assert "&lt;script&gt;red" in otto
    assert "<script>" not in otto.replace("<script src", "")
    assert "\x1b" not in otto
    listed = site.browser("vera").get("/waiting.json").json()
    rows = [step.as_json() for step in works.client.list_waiting()]
    assert listed == json.loads(json.dumps(rows, default=str))


def test_a_flow_is_read_once_for_all_that_waits(
    works: Works, site: Site, payout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many runs of one flow ask the same."""
    read = Mock(wraps=texts_of)
    monkeypatch.setattr(waiting, "texts_of", read)
    other = works.client.start("payout").id

    page = site.browser("vera").get("/waiting").text

    assert all(f'href="/runs/{each}"' in page for each in (payout, other))
    assert read.call_count == 1


def test_nothing_waits(site: Site) -> None:
    """The page says when a step is listed."""
    assert "Nothing waits. A step with" in site.browser("vera").get("/waiting").text


def test_a_step_is_approved_with_its_form(works: Works, site: Site, payout: str) -> None:
    """The fields in the order of the text; wrong ones are told, and what was typed stays."""
    otto = site.browser("otto")
    path = f"/runs/{payout}/steps/approve/approve"
    page = otto.get(path).text

    names = re.findall(r'name="input\.(\w+)"', page)
    assert names == ["reason", "granted", "account", "parts"]
    assert "Why &lt;b&gt;" in page
    assert "&lt;i&gt;for the books" in page
    typed = {"input.reason": CANARY, "input.granted": "-1", "comment": "<b>fine"}
    refused = site.post(otto, path, **typed)
    assert refused.status_code == 422
    assert "granted must be at least 0" in refused.text
    assert 'value="-1"' in refused.text
    assert "&lt;b&gt;fine" in refused.text
    assert "&lt;script&gt;red" in refused.text
    assert works.client.get(payout).status == "started"

    typed |= {"input.granted": "120", "input.parts": "[1, 2]"}
    assert site.post(otto, path, **typed).headers["location"] == f"/runs/{payout}"

    assert works.client.get(payout).status == "completed"
    answer = works.client.run_snapshot(payout)["steps"][0]["answer"]
    assert answer is not None
    assert (answer["by"], answer["comment"]) == ("otto", "<b>fine")
    expected = {"reason": CANARY, "granted": 120, "account": "main", "parts": [1, 2]}
    assert answer["data"] == expected
    assert "approve approved by otto" in otto.get(f"/runs/{payout}").text
    assert "approve&#34; is approved already, by otto" in otto.get(path).text
    assert site.post(otto, path, **typed).status_code == 303
    assert "nothing changed: approve was approved by otto" in otto.get("/").text


def test_a_step_is_rejected_with_a_comment(works: Works, site: Site, run: str) -> None:
    """Without one it is not; the step fails with it."""
    otto = site.browser("otto")
    path = f"/runs/{run}/steps/go_live/reject"

    assert "The comment is its error" in otto.get(path).text
    assert "say why" in site.post(otto, path, comment=" ").text
    assert works.client.get(run).status == "started"
    assert site.post(otto, path, comment="too\x1b[31m early").status_code == 303
    found = works.client.get(run)
    assert found.status == "failed"
    assert "too early" in str(found.error)


def test_only_those_who_are_named_decide(
    works: Works, make_site: Callable[..., Site], payout: str, users: object
) -> None:
    """Others see no form; what they send is refused by the database."""
    works.deploy(PAYOUT.replace("finance", "board").replace("payout", "bonus"))
    bonus = works.client.start("bonus").id
    site = make_site(works.client)
    otto = site.browser("otto")
    path = f"/runs/{bonus}/steps/approve/approve"

    assert "This step is for ada or board to decide, not for otto" in otto.get(path).text
    assert "<textarea" not in otto.get(path).text
    refused = site.post(otto, path, **{"input.granted": "1", "input.reason": "x"})
    assert refused.status_code == 409
    assert works.client.get(bonus).status == "started"
    for step in ("nowhere", "%3Cscript%3E"):
        assert otto.get(f"/runs/{payout}/steps/{step}/approve").status_code == 404


def test_a_run_shows_what_people_can_do(works: Works, site: Site, payout: str, run: str) -> None:
    """For a child run as well; a failed run can be retried. Others see the command."""
    works.deploy("flow: parent\nsteps:\n  out: {flow: payout}\n")
    parent = works.client.start("parent").id
    works.drain()
    child = works.client.list_runs(parent=parent)[0].id
    otto, vera = site.browser("otto"), site.browser("vera")

    page = otto.get(f"/runs/{run}").text
    assert f'href="/runs/{run}/steps/go_live/approve"' in page
    assert f'href="/runs/{run}/send?event=go_live"' in page
    page = otto.get(f"/runs/{parent}").text
    assert f'href="/runs/{child}/steps/approve/approve"' in page
    assert f'href="/runs/{child}/send' not in page
    assert "from ada or finance" in page
    page = vera.get(f"/runs/{payout}").text
    assert "/approve/approve" not in page
    assert f"pgflow-yaml approve {payout[:8]} approve" in page
    works.client.reject(run, "go_live", "no")
    assert f'href="/runs/{run}/retry"' in otto.get(f"/runs/{run}").text
    assert "/retry" not in vera.get(f"/runs/{run}").text
