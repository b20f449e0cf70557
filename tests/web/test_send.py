"""Send an event by the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fixtures.working import Works
    from tests.web.conftest import Site


def test_an_event_is_sent_with_data(works: Works, site: Site) -> None:
    """One of those that a step waits for, or will; what is wrong is told, and stays."""
    works.deploy("""
        flow: order
        steps:
          later: {wait: {event: shipped}, depends_on: [pay]}
          pay: {wait: {event: paid}}
          check: {wait: {event: audit, by: ada}}
    """)
    run = works.client.start("order").id
    otto = site.browser("otto")
    path = f"/runs/{run}/send"
    page = otto.get(f"{path}?event=paid").text

    assert "<option selected>paid</option>\n<option>shipped</option>" in page
    assert "audit" not in page
    wrong = site.post(otto, path, event="paid", data='{"<script>": ')
    assert wrong.status_code == 400
    assert "the data is not JSON" in wrong.text
    assert "{&#34;&lt;script&gt;&#34;: " in wrong.text
    assert "waits for an event" in site.post(otto, path, event="payd").text
    assert "any more" in site.post(otto, path, event="audit").text

    assert site.post(otto, path, event="paid", data='{"amount": 12}').status_code == 303
    assert "paid: completed pay" in otto.get(f"/runs/{run}").text
    steps = {step["slug"]: step for step in works.client.run_snapshot(run)["steps"]}
    assert steps["pay"]["output"] == {"amount": 12}
    assert "<option>paid" not in otto.get(path).text
    works.client.cancel(run)
    assert "This run was cancelled: it takes no event" in otto.get(path).text
