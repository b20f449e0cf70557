"""Retry by the page: what is shown is what happens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.fixtures.working import Works
    from tests.web.conftest import Site


@pytest.fixture
def failed(works: Works) -> str:
    """The id of a run of which one step completed, and the next one was rejected."""
    works.deploy("""
        flow: order
        input:
          amount: {type: integer, minimum: 1}
          note: {type: string, default: ""}
        steps:
          quote: {wait: {event: quote}}
          pay: {wait: {event: pay}, depends_on: [quote]}
    """)
    run = works.client.start("order", {"amount": 5, "note": "<script>\x1b[31mred"}).id
    works.client.approve(run, "quote")
    works.client.reject(run, "pay", "<script>no")
    return run


def form(page: Any) -> dict[str, str]:
    """What the page has shown."""
    found = re.search(r'name="seen" value="(\w*)"', page.text)
    assert found
    return {"seen": found[1]}


def test_a_retry_does_what_was_shown(works: Works, site: Site, failed: str) -> None:
    """The failed part at once; another choice is shown first, also if the button was pressed."""
    otto, path = site.browser("otto"), f"/runs/{failed}/retry"
    page = otto.get(path)

    assert "again: pay · kept: quote" in page.text
    assert "<script>" not in page.text
    assert "\x1b" not in page.text
    other = {"from": "quote", "do": "retry"}
    shown = site.post(otto, path, **form(page), **other)
    assert shown.status_code == 200
    assert "another retry than the one that was shown" in shown.text
    assert "already completed, and would run again: quote" in shown.text
    assert "--from quote" in shown.text
    looked = site.post(otto, path, **form(shown), **{"from": "quote", "do": "look"})
    assert "another retry" not in looked.text
    assert works.client.get(failed).status == "failed"

    assert site.post(otto, path, **form(shown), **other).headers["location"] == f"/runs/{failed}"
    assert works.client.get(failed).status == "started"
    assert f"run {failed[:8]} retried: again: quote, pay" in otto.get(f"/runs/{failed}").text
    live = otto.get(path)
    assert "<select" not in live.text
    assert 'role="alert"' in live.text


def test_a_copy_goes_on_with_other_input(works: Works, site: Site, failed: str) -> None:
    """Wrong input is told and stays; the fields that are not named keep their values."""
    otto, path = site.browser("otto"), f"/runs/{failed}/retry"
    for wrong, said in (
        ("{", "not JSON"),
        ("[1]", "is an object"),
        ('{"amount": 0}', "amount: must be at least 1"),
        ('{"<b>": 0}', "&lt;b&gt;: is not an input"),
    ):
        refused = site.post(otto, path, input=wrong, do="look", as_new="1")
        assert refused.status_code in (400, 422)
        assert said in refused.text
        assert '<button name="do" value="retry">' not in refused.text

    options = {"input": '{"amount": 7}', "as_new": "1"}
    shown = site.post(otto, path, **options, do="look")
    to = site.post(otto, path, **options, **form(shown), do="retry").headers["location"]

    assert to != f"/runs/{failed}"
    copy = works.client.run_snapshot(to.removeprefix("/runs/"))["run"]
    assert copy["input"] == {"amount": 7, "note": "<script>\x1b[31mred"}
    assert works.client.get(failed).status == "failed"


def test_the_latest_version_is_offered(works: Works, site: Site, failed: str) -> None:
    """When it is another one than that of the run; `?from=` chooses a step."""
    otto, path = site.browser("otto"), f"/runs/{failed}/retry"
    assert 'value="latest"' not in otto.get(path).text
    works.deploy("""
        flow: order
        input:
          amount: {type: integer, minimum: 1}
          note: {type: string, default: ""}
        steps:
          quote: {wait: {event: quote}}
          pay: {wait: {event: paid}, depends_on: [quote]}
    """)
    page = otto.get(f"{path}?from=pay&version=latest")

    assert 'value="latest" selected' in page.text
    assert '<option value="pay" selected>' in page.text
    options = {"from": "pay", "version": "latest", "do": "retry"}
    assert site.post(otto, path, **form(page), **options).status_code == 303
    events = [step.event for step in works.client.list_waiting()]
    assert events == ["paid"]
