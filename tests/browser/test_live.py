"""A page that is open follows its run, and tells the truth when it cannot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser import project as flows

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Visits
    from tests.browser.project import Project

BANNER = "#live"
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def run(project: Project) -> str:
    """A run that will wait for an event."""
    project.deploy(flows.ORDER)
    return project.client.start("order").id


def stay(page: Page) -> None:
    """Mark the document: a page that is loaded again has no mark."""
    page.evaluate("window.stayed = true")


def stayed(page: Page) -> bool:
    """Whether the page is still the document that was marked."""
    return bool(page.evaluate("window.stayed === true"))


def test_a_run_changes_without_a_reload(project: Project, page: Page, run: str) -> None:
    """The head, the steps, and the title of the tab, too."""
    page.goto(f"/runs/{run}")
    stay(page)
    expect(page.locator(BANNER)).to_have_text("live")
    expect(page.locator("#steps")).to_contain_text("waiting")

    project.client.approve(run, "release")

    expect(page.locator("#head")).to_contain_text("completed")
    expect(page).to_have_title(re.compile("^✓"))
    expect(page.locator("#values")).to_contain_text("parcel for lamp")
    assert stayed(page)


def test_a_new_run_appears_in_the_list(project: Project, page: Page, run: str) -> None:
    """Where it was not before."""
    page.goto("/")
    stay(page)
    expect(page.locator(BANNER)).to_have_text("live")

    new = project.client.start("order").id

    expect(page.get_by_role("link", name=new[:8], exact=True)).to_be_visible()
    assert stayed(page)


def test_a_hidden_tab_asks_nothing(project: Project, page: Page, run: str) -> None:
    """It closes its stream; when it is seen again, it shows what has happened since."""
    page.goto(f"/runs/{run}")
    stay(page)
    expect(page.locator("#steps")).to_contain_text("waiting")
    expect(page.locator(BANNER)).to_have_text("live")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.evaluate(HIDE, True)
    expect(page.locator(BANNER)).to_have_text("paused (hidden)")
    project.client.approve(run, "release")
    project.ended(run)
    page.wait_for_timeout(1500)  # longer than a look of the server
    assert asked == []
    assert "completed" not in page.locator("#head").inner_text()

    page.evaluate(HIDE, False)
    expect(page.locator("#head")).to_contain_text("completed")
    expect(page.locator(BANNER)).to_have_text("live")
    assert stayed(page)


def test_a_server_that_dies_is_told(project: Project, visits: Visits, page: Page, run: str) -> None:
    """With the time; when it is back, the page is live again and shows what has happened."""
    visits.tolerated = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE")
    visits.tolerated += ("ERR_CONNECTION_RESET",)
    page.goto(f"/runs/{run}")
    stay(page)
    expect(page.locator("#steps")).to_contain_text("waiting")
    expect(page.locator(BANNER)).to_have_text("live")

    project.server.kill()
    expect(page.locator(BANNER)).to_have_text(re.compile(r"^not connected since \d\d:\d\d UTC$"))
    project.client.approve(run, "release")
    project.ended(run)
    project.serve()

    expect(page.locator(BANNER)).to_have_text("live")
    expect(page.locator("#head")).to_contain_text("completed")
    assert stayed(page)


def test_what_is_in_use_is_not_taken_away(project: Project, page: Page, run: str) -> None:
    """A selection stays until the reader asks for the news."""
    page.goto(f"/runs/{run}")
    expect(page.locator("#steps")).to_contain_text("waiting")
    expect(page.locator(BANNER)).to_have_text("live")
    page.locator("#head h1").click(click_count=3)

    project.client.approve(run, "release")

    button = page.locator("#head").get_by_role("button", name="changed · show")
    expect(button).to_be_visible()
    button.click()
    expect(page.locator("#head")).to_contain_text("completed")


def streams(page: Page) -> list[str]:
    """The addresses of streams that a page will have opened: a list that grows."""
    found: list[str] = []
    page.on("request", lambda asked: found.extend([asked.url] * ("/events?" in asked.url)))
    return found


def test_a_tab_in_the_background_opens_one_stream(page: Page, run: str) -> None:
    """When it is seen."""
    page.add_init_script(f"({HIDE})(true)")
    opened = streams(page)
    page.goto(f"/runs/{run}")
    expect(page.locator(BANNER)).to_have_text("paused (hidden)")
    assert opened == []

    page.evaluate(HIDE, False)

    expect(page.locator(BANNER)).to_have_text("live")
    assert len(opened) == 1


def test_a_part_that_fails_hinders_no_other(
    project: Project, visits: Visits, page: Page, run: str
) -> None:
    """The page says so, and is live again once a ping finds the part."""
    visits.tolerated = ("500",)
    page.goto(f"/runs/{run}")
    expect(page.locator("#steps")).to_contain_text("waiting")
    expect(page.locator(BANNER)).to_have_text("live")
    page.route("**/parts/head", lambda route: route.fulfill(status=500))

    project.client.approve(run, "release")

    expect(page.locator(BANNER)).to_have_text(re.compile("^a part cannot be read since "))
    expect(page.locator("#values")).to_contain_text("parcel for lamp")
    page.unroute("**/parts/head")
    page.evaluate("source.dispatchEvent(new Event('ping'))")
    expect(page.locator(BANNER)).to_have_text("live")
    expect(page.locator("#head")).to_contain_text("completed")


def test_a_session_that_ends_in_a_hidden_tab_is_told(visits: Visits, page: Page, run: str) -> None:
    """The page asks no more, however often it is seen."""
    visits.tolerated = ("401",)
    page.goto(f"/runs/{run}")
    expect(page.locator(BANNER)).to_have_text("live")
    page.evaluate(HIDE, True)
    page.context.clear_cookies()

    page.evaluate(HIDE, False)
    expect(page.locator(BANNER)).to_have_text("logged out: reload this page")

    opened = streams(page)
    for hidden in (True, False):
        page.evaluate(HIDE, hidden)
    expect(page.locator(BANNER)).to_have_text("logged out: reload this page")
    assert opened == []


def test_a_page_without_a_stream_says_of_when_it_is(
    project: Project, visits: Visits, page: Page, run: str
) -> None:
    """It asks for its parts now and then."""
    visits.tolerated = ("503",)
    page.route("**/events?*", lambda route: route.fulfill(status=503))
    page.goto(f"/runs/{run}")
    expect(page.locator(BANNER)).to_have_text(re.compile(r"^not live: as of \d\d:\d\d UTC$"))

    project.client.approve(run, "release")

    expect(page.locator("#head")).to_contain_text("completed")


def test_a_step_that_cannot_be_read_is_a_new_page(visits: Visits, page: Page, run: str) -> None:
    """What stands under the name of a step is of that step."""
    visits.tolerated = ("500",)
    page.goto(f"/runs/{run}?step=reserve")
    expect(page.locator(BANNER)).to_have_text("live")
    page.route("**/parts/step?step=ship", lambda route: route.fulfill(status=500), times=1)
    with page.expect_event("load"):
        page.locator("a[data-step=ship]").first.click()

    expect(page.locator("#step")).to_contain_text("ship")


def test_a_double_click_sends_a_form_once(page: Page, run: str) -> None:
    """The second one does nothing."""
    page.goto("/flows/order/start")
    twice = """() => [1, 2].map(() => document.querySelector("form.card").dispatchEvent(
        new Event("submit", {bubbles: true, cancelable: true})))"""

    assert page.evaluate(twice) == [True, False]
