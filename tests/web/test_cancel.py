"""Cancel by the page: the whole way of an action."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works
    from tests.web.conftest import Site


def test_a_run_is_cancelled_from_its_page(
    works: Works, site: Site, run: str, db: psycopg.Connection
) -> None:
    """Button, question, form, audit, sentence; the sentence is shown once."""
    otto = site.browser("otto")
    link = re.search(r'href="([^"]+/cancel)"', otto.get(f"/runs/{run}").text)
    assert link
    asked = otto.get(link[1]).text
    token = re.search(r'name="token" value="([^"]+)"', asked)
    assert token
    assert "Cancel release" in asked

    reply = otto.post(link[1], data={"token": token[1], "reason": "wrong \x1b[31mrelease"})

    assert (reply.status_code, reply.headers["location"]) == (303, f"/runs/{run}")
    assert works.client.get(run).status == "cancelled"
    audit = "select who, details->>'reason' from pgflow.audit where action = 'cancel'"
    assert db.execute(audit).fetchall() == [("otto", "wrong release")]
    page = otto.get(f"/runs/{run}").text
    assert f'<p class="flash" role="status">run {run[:8]}: cancelled</p>' in page
    assert "Cancelled: wrong release" in page
    assert "flash" not in otto.get(f"/runs/{run}").text


def test_a_run_that_has_ended_has_nothing_to_cancel(works: Works, site: Site, run: str) -> None:
    """The question says so; a form of an old page does nothing, and says what the run is."""
    works.client.cancel(run)
    otto = site.browser("otto")

    assert "This run was cancelled: there is nothing" in otto.get(f"/runs/{run}/cancel").text
    assert site.post(otto, f"/runs/{run}/cancel").status_code == 303
    assert "had ended already: cancelled" in otto.get(f"/runs/{run}").text


def test_a_refused_form_is_shown_again(works: Works, site: Site, run: str) -> None:
    """With the sentence and what was typed."""
    reason = "<b>" + "x" * 2_000
    reply = site.post(site.browser("otto"), f"/runs/{run}/cancel", reason=reason)

    assert reply.status_code == 409
    assert "the reason has more than 1,000 characters" in reply.text
    assert f"&lt;b&gt;{'x' * 2_000}" in reply.text
    assert works.client.get(run).status == "started"


def test_child_runs_are_named(works: Works, site: Site) -> None:
    """Before the run, and they with it, is stopped."""
    works.deploy("flow: child\nsteps:\n  ask: {wait: {event: yes}}\n")
    works.deploy("flow: parent\nsteps:\n  a: {flow: child}\n  b: {flow: child}\n")
    run = works.client.start("parent").id
    works.drain()

    page = site.browser("otto").get(f"/runs/{run}/cancel").text

    assert "The run stops, and 2 child runs" in page
