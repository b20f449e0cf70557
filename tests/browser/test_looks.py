"""Every page, in each state and both themes: no barrier that axe finds, no sideways scroll.

What is looked at stands in the table of routes: a new page or form is looked at, too. Pictures go
to build/shots; with PGFLOW_YAML_SHOTS those of the documentation are written.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from pgflow_yaml.web.routes import ACTIONS, PAGES
from tests.browser import project as flows
from tests.browser.conftest import PHONE, WIDE, enter
from tests.browser.install import AXE_FILE
from tests.docs.fenced import ROOT
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import Visits
    from tests.browser.project import Project

SHOTS = ROOT / "build" / "shots"
DOCS = ROOT / "docs" / "how-to" / "web"
ELSEWHERE = {"/bulk/{job}"}  # a job exists when somebody has begun it: test_actions.py
# The query without which a page has nothing to show.
QUERIES: Mapping[str, str] = {
    "/bulk/cancel": "?flow=slow",
    "/bulk/retry": "?status=failed",
    "/flows/{flow}/activate": "?version={version}",
    "/runs/{run}/compare": "?with={run}",
}
# Each form is looked at where it has something to do; each page in every state.
FORMS: Mapping[str, str] = {
    "/bulk/cancel": "live",
    "/bulk/retry": "failed",
    "/flows/{flow}/activate": "failed",
    "/flows/{flow}/start": "failed",
    "/queues/{queue}/pause": "live",
    "/queues/{queue}/resume": "live",
    "/runs/{run}/cancel": "live",
    "/runs/{run}/retry": "failed",
    "/runs/{run}/send": "waiting",
    "/runs/{run}/steps/{step}/approve": "waiting",
    "/runs/{run}/steps/{step}/reject": "waiting",
    "/schedules/{flow}/pause": "map",
    "/schedules/{flow}/resume": "map",
}
# The pictures of the documentation, by theme; they show no path of this machine. All others go to
# build/shots only.
PICTURES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("live", "/runs/{run}"): {"light": "run"},
    ("live", "/"): {"dark": "runs"},
}
THEMES: tuple[Any, ...] = ("light", "dark")
RUN_AXE = "axe.run().then(found => found.violations.map(each => [each.id, each.nodes[0].html]))"
SETTLED = """() => !document.querySelector('[data-live]:not([data-live=""])')
    || document.getElementById("live").textContent"""
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("main *")].filter(each => !each.closest(".scroll, pre, svg")
        && each.getBoundingClientRect().right > innerWidth).map(each => each.outerHTML.slice(0, 90))
        .concat([`${document.documentElement.scrollWidth} > ${innerWidth}`])"""


@pytest.fixture(scope="module")
def states(project: Project) -> Mapping[str, Mapping[str, str]]:
    """What stands for the names in paths, by the state of the run that is shown."""
    start = project.client.start
    project.deploy(flows.ORDER.replace("ship", "send_off"))
    for text in (flows.ORDER, flows.SLOW, flows.REVIEW, flows.CRAWL, flows.wide()):
        project.deploy(text)
    wide, crawl = start("wide").id, start("crawl").id
    failed = start("order", {"amount": 2000}, key="A-1002", labels={"channel": "shop"}).id
    review = start("review").id
    live = start("slow", key="S-1").id
    for run in (wide, crawl, failed):
        project.ended(run)
    eventually(
        lambda: any(step["status"] == "started" for step in steps(project, live)[1:2]), what="live"
    )
    found = {
        "live": {"run": live, "step": "linger", "index": "0", "flow": "slow", "queue": "slow"},
        "waiting": {"run": review, "step": "decide", "index": "0", "flow": "review"},
        "failed": {"run": failed, "step": "charge", "index": "0", "flow": "order"},
        "map": {"run": crawl, "step": "fetch", "index": "28", "flow": "crawl"},
        "wide": {"run": wide, "step": "s200", "index": "0", "flow": "wide"},
    }
    for values in found.values():
        values["version"] = project.client.list_versions(values["flow"])[-1].version
    return found


def steps(project: Project, run: str) -> Any:
    """The steps of a run."""
    return project.client.run_snapshot(run, outputs=False)["steps"]


@pytest.fixture(scope="module")
def nothing(chromium: Browser, make_project: Callable[[], Project]) -> Visits:
    """The pages of a project in which nothing has happened yet."""
    return enter(chromium, make_project())


def look(page: Page, path: str, shot: str, pictures: Mapping[str, str]) -> list[str]:
    """What is wrong with a page: barriers in a theme, sideways scroll on a phone."""
    page.set_viewport_size(WIDE)
    answer = page.goto(path)
    assert answer is not None
    if not answer.ok:
        return [f"{path}: {answer.status} {page.inner_text('main')[:200]}"]
    wrong = []
    page.wait_for_function(SETTLED)
    page.evaluate(AXE_FILE.read_text(encoding="utf-8"))
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        wrong += [f"{path}: {theme}: {name}: {html}" for name, html in page.evaluate(RUN_AXE)]
        page.screenshot(path=SHOTS / f"{shot}-{theme}.png")
        if theme in pictures and os.environ.get("PGFLOW_YAML_SHOTS"):
            page.screenshot(path=DOCS / f"{pictures[theme]}.png")
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="light")
    wrong += [f"{path}: too wide: {html}" for html in page.evaluate(TOO_WIDE)]
    page.screenshot(path=SHOTS / f"{shot}-375.png")
    return wrong


def paths(state: str) -> list[str]:
    """The pages to look at in a state, and its forms; a list shows the runs of all states."""
    lists = [page.path for page in PAGES if "{" not in page.path]
    if state == "empty":
        return lists
    pages = [page.path for page in PAGES if "{" in page.path and page.path not in ELSEWHERE]
    pages += lists if state == "live" else []
    return pages + [action.path for action in ACTIONS if FORMS[action.path] == state]


def named(path: str) -> str:
    """A name for the picture of a path."""
    return re.sub(r"\W+", "-", path).strip("-") or "runs"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("state", ["live", "waiting", "failed", "map", "wide"])
def test_pages_have_no_barriers(
    page: Page, states: Mapping[str, Mapping[str, str]], state: str
) -> None:
    """Nor do the forms of actions, in both themes and on a phone."""
    wrong = []
    for path in paths(state):
        filled = (path + QUERIES.get(path, "")).format_map(states[state])
        wrong += look(page, filled, f"{state}-{named(path)}", PICTURES.get((state, path), {}))
    assert not wrong, "\n".join(wrong)


def test_empty_pages_have_no_barriers(nothing: Visits) -> None:
    """Where there is no run yet."""
    wrong = []
    with nothing.open() as context:
        page = context.new_page()
        for path in paths("empty"):
            wrong += look(page, path, f"empty-{named(path)}", {})
    assert not wrong, "\n".join(wrong)
    assert nothing.wrong == []


def test_a_chosen_theme_is_not_that_of_the_system(visits: Visits) -> None:
    """It is kept by the browser."""
    with visits.open(color_scheme="light") as context:
        page = context.new_page()
        page.goto("/")
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="dark").click()
        page.goto("/")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_times_in_the_zone_of_the_browser(
    visits: Visits, states: Mapping[str, Mapping[str, str]]
) -> None:
    """The switch names the browser's zone, and is not there where that is UTC."""
    run = states["failed"]["run"]
    with visits.open(timezone_id="UTC") as context:
        page = context.new_page()
        page.goto(f"/runs/{run}")
        expect(page.get_by_role("group", name="time zone")).to_be_hidden()
    with visits.open(timezone_id="Europe/Berlin") as context:
        page = context.new_page()
        page.goto(f"/runs/{run}")
        page.get_by_role("button", name="Europe/Berlin").click()
        expect(page.locator("#head time").first).to_contain_text("Europe/Berlin")
        page.get_by_role("button", name="UTC").click()
        expect(page.locator("#head time").first).to_contain_text("UTC")
