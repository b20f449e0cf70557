"""What people do on the pages, with and without JavaScript: the same; the page says what it did."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser import project as flows
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.browser.conftest import Visits
    from tests.browser.project import Project


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def page(visits: Visits, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab that runs scripts, and one that runs none."""
    with visits.open(java_script_enabled=request.param) as context:
        yield context.new_page()


@pytest.fixture(autouse=True)
def deployed(project: Project) -> None:
    """The flows."""
    project.deploy(flows.ORDER)
    project.deploy(flows.REVIEW)


def shows_end(page: Page, project: Project, run: str, status: str) -> None:
    """The page of the run says how it has ended: by itself, or when it is loaded again."""
    assert project.ended(run) == status
    if not page.locator("#live").inner_text():  # no script
        page.reload()
    expect(page.locator("#head")).to_contain_text(status)


def test_start_by_a_form(visits: Visits, page: Page, project: Project) -> None:
    """A wrong value is refused beside its field, and what was typed is kept."""
    visits.tolerated = ("422",)  # the status of the refusal, which a browser logs
    page.goto("/flows/order")
    page.get_by_role("link", name=re.compile("^Start")).first.click()
    page.get_by_label(re.compile("^article")).fill("chair")
    page.get_by_label(re.compile("^amount")).fill("many")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("form .err").first).to_contain_text("amount")
    expect(page.get_by_label(re.compile("^article"))).to_have_value("chair")
    page.get_by_label(re.compile("^amount")).fill("12")
    page.get_by_label(re.compile("^size")).select_option(label="large")
    page.get_by_role("button", name="Start").click()

    expect(page).to_have_url(re.compile("/runs/[0-9a-f-]{36}"))
    expect(page.locator(".flash")).to_be_visible()
    run = page.url.rpartition("/")[2]
    assert project.client.get(run).input == {"article": "chair", "amount": 12, "size": "large"}


def test_approve_with_a_form(page: Page, project: Project) -> None:
    """From the list of what waits; the run then completes."""
    run = project.client.start("review").id
    verdict = page.get_by_label(re.compile("^verdict"))
    path = f"/runs/{run}/steps/decide/approve"
    eventually(lambda: page.goto(path) and verdict.count(), what="the step waits")
    verdict.select_option(label="good")
    page.get_by_role("button", name="Approve").click()

    expect(page.locator(".flash")).to_be_visible()
    page.goto(f"/runs/{run}")
    shows_end(page, project, run, "completed")
    decided: Any = project.client.get(run).output
    assert decided["data"]["verdict"] == "good"


def test_retry_with_a_preview(page: Page, project: Project) -> None:
    """First it says what would run again and what is kept; then it does that."""
    run = project.client.start("order", {"amount": 2000}).id
    assert project.ended(run) == "failed"
    page.goto(f"/runs/{run}")
    page.get_by_role("link", name=re.compile("^Retry")).first.click()
    page.get_by_text("With other input").click()
    page.locator("textarea[name=input]").fill('{"amount": 20}')
    page.get_by_role("button", name="Show what it does").click()
    expect(page.get_by_role("status").filter(has_text="What it does")).to_be_visible()
    assert project.client.get(run).status == "failed"
    page.get_by_role("button", name="Retry", exact=True).click()

    expect(page.locator(".flash")).to_be_visible()
    expect(page.locator("#steps")).to_contain_text("reserve")
    project.client.approve(run, "release")
    shows_end(page, project, run, "completed")


def test_cancel(page: Page, project: Project) -> None:
    """With a reason, which the page shows."""
    run = project.client.start("order").id
    page.goto(f"/runs/{run}")
    page.get_by_role("link", name=re.compile("^Cancel")).first.click()
    page.get_by_label("Reason").fill("wrong size")
    page.get_by_role("button", name="Cancel the run").click()

    expect(page.locator(".flash")).to_be_visible()
    shows_end(page, project, run, "cancelled")
    expect(page.locator("main")).to_contain_text("wrong size")


def test_a_page_behind_the_back_button_is_current(page: Page, project: Project) -> None:
    """No page is taken from a store of the browser with what was true before an action."""
    run = project.client.start("order").id
    page.goto(f"/runs/{run}")
    page.get_by_role("link", name=re.compile("^Cancel")).first.click()
    project.client.cancel(run)
    project.ended(run)

    page.go_back()

    expect(page.locator("#head")).to_contain_text("cancelled")
