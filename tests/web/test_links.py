"""Signed links: a page without a session, for one step of one run, as long as it can be decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.runs.approval_links import Approval, sign
from tests.web.test_decide import CANARY, PAYOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fixtures.working import Works
    from tests.web.conftest import Site

KEY = b"a key that workers and pages share"
SOON = datetime.now(UTC) + timedelta(hours=1)
TYPED = {"input.reason": CANARY, "input.granted": "1", "decision": "approve"}


@pytest.fixture
def linked(works: Works, make_site: Callable[..., Site]) -> Site:
    """Pages that take links."""
    return make_site(works.client, link_key=KEY)


def link(run: str, step: str, **more: object) -> str:
    """The path of a link."""
    approval = Approval(run=run, step=step, retries=0, expires=SOON)
    return f"/a/{sign(replace(approval, **more), KEY)}"  # type: ignore[arg-type]


def test_a_link_lets_its_person_decide(works: Works, linked: Site) -> None:
    """Without a session; once, in the name that was signed, and nothing else is to be seen."""
    works.deploy(PAYOUT)
    run = works.client.start("payout", {}, key=CANARY).id
    reader, path = linked.browser(), link(run, "approve", by="ada")
    page = reader.get(path)

    assert page.status_code == 200
    assert "You decide as <b>ada</b>" in page.text
    assert "&lt;script&gt;red" in page.text
    assert "<script>" not in page.text
    assert "<nav" not in page.text
    assert works.client.get(run).status == "started"
    refused = reader.post(path, data={**TYPED, "input.granted": "-1"})
    assert (refused.status_code, "must be at least 0" in refused.text) == (422, True)
    assert reader.post(path, data={**TYPED, "decision": ""}).status_code == 400
    assert "say why" in reader.post(path, data={"decision": "reject"}).text
    foreign = reader.post(path, data=TYPED, headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403

    reply = reader.post(path, data={**TYPED, "name": "eve"})
    assert (reply.status_code, reply.headers["location"]) == (303, path)
    assert "approve approved by ada" in reader.get(path).text
    assert "is approved already, by ada" in reader.get(path).text
    assert reader.post(path, data=TYPED).status_code == 409
    assert works.client.get(run).status == "completed"
    for other in (f"/runs/{run}", "/waiting.json", f"/runs/{run}.json"):
        assert reader.get(other).status_code in (303, 401)


def test_a_link_for_anybody_vouches_for_no_name(works: Works, linked: Site, run: str) -> None:
    """Who decides writes a name, and it says that it came by a link; steps with `by` refuse it."""
    works.deploy(PAYOUT)
    payout = works.client.start("payout").id
    reader = linked.browser()
    shut, path = link(payout, "approve"), link(run, "go_live")

    assert "ada or finance to decide, and this link names nobody" in reader.get(shut).text
    assert reader.post(shut, data={**TYPED, "name": "ada"}).status_code == 409
    assert "write your name" in reader.post(path, data={"decision": "approve", "name": " "}).text
    reply = reader.post(path, data={"decision": "reject", "name": "eve\x1b[1m", "comment": "no"})
    assert reply.status_code == 303
    answer = works.client.run_snapshot(run)["steps"][0]["answer"]
    assert answer is not None
    assert (answer["by"], answer["comment"]) == ("eve (by link)", "no")


def test_no_other_link_is_taken(works: Works, make_site: Callable[..., Site], run: str) -> None:
    """Forged, changed, expired, of another key, of an earlier try, of a step that asks nothing."""
    site = make_site(works.client, link_key=KEY)
    reader, good = site.browser(), link(run, "go_live")
    past = datetime.now(UTC) - timedelta(seconds=1)
    gone = "00000000-0000-4000-8000-000000000000"

    bad = ["/a/x", f"{good}x", f"{good[:-2]}AA", link(run, "go_live", expires=past)]
    bad += [link(gone, "go_live"), link(run, "nowhere")]
    for path in bad:
        assert reader.get(path).status_code == 404
        assert reader.post(path, data={"decision": "approve", "name": "x"}).status_code == 404
    later = link(run, "go_live", retries=1)
    assert "older than the last retry" in reader.get(later).text
    assert reader.post(later, data={"decision": "approve", "name": "x"}).status_code == 409
    other = make_site(works.client, link_key=b"another key of workers").browser()
    assert other.get(good).status_code == 404
    for settings in ({}, {"link_key": KEY, "read_only": True}):
        closed = make_site(works.client, **settings).browser()
        assert closed.post(good, data={"decision": "approve", "name": "x"}).status_code != 303
    assert works.client.get(run).status == "started"
    assert reader.get(good).status_code == 200
    assert reader.post(f"{good}/", data={"decision": "approve"}).status_code in (401, 404)
