"""The list of runs and the page of a run: what they show, escaped, and what they say instead."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from pgflow_yaml.text import moment
from pgflow_yaml.web.pages import run as page_of_run
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from tests.fixtures.working import Works
    from tests.web.conftest import Site

CANARY = "<script>alert(1)</script>\x1b[31mred\x1b[0m\u202e\"'&"
FLOW = """
flow: order
input: {note: {type: string}}
labels: {team: x}
steps:
  pay: {handler: shop.pay, retry: 1}
  ship: {handler: shop.ship, depends_on: [pay]}
"""
HANDLERS = f"""
CANARY = {CANARY!r}
def pay():
    raise type("Boom<b>", (Exception,), {{}})(CANARY)
def ship(): ...
"""


@pytest.fixture
def failed(works: Works) -> str:
    """The id of a run that failed, with a canary in every field that takes a text."""
    works.app.write("shop.py", HANDLERS)
    works.deploy(FLOW)
    run = works.client.start("order", {"note": CANARY}, key=f"k {CANARY}", labels={"team": CANARY})
    works.drain()
    return run.id


def test_what_others_wrote_comes_out_as_text(site: Site, failed: str) -> None:
    """In the pages, their parts and the form of an action; without escapes for terminals."""
    otto = site.browser("otto")
    paths = [f"/runs/{failed}", "/", f"/runs/{failed}/cancel", f"/?error={'<script>alert(1)'}"]
    paths += [f"/runs/{failed}/parts/{name}" for name in page_of_run.PAGE.parts]
    for path in paths:
        reply = otto.get(path)
        assert reply.status_code == 200
        assert "<script>alert" not in reply.text
        assert "<b>" not in reply.text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", reply.text)
    page = otto.get(f"/runs/{failed}").text
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert "red" in page


def test_a_failed_run_says_what_failed(site: Site, failed: str) -> None:
    """Symbol, word, error, the step behind it, the way on; the title carries the status."""
    page = site.browser("vera").get(f"/runs/{failed}").text

    assert f"<title>✗ order {failed[:8]} · pgflow-yaml</title>" in page
    assert "pay failed" in page
    assert f"pgflow-yaml retry {failed[:8]}" in page
    assert "/cancel" not in page


def test_ages_of_a_live_run_are_asked_for_again(site: Site, works: Works, run: str) -> None:
    """Why a step waits, and that no worker is alive; a duration that goes on is no news."""
    vera = site.browser("vera")
    head, steps = (f"/runs/{run}/parts/{part}" for part in ("head", "steps"))
    assert all(" data-ages" in vera.get(part).text for part in (head, steps))
    first = vera.get(head)
    eventually(lambda: vera.get(head).text != first.text, what="time passes")
    assert vera.get(head).headers["etag"] == first.headers["etag"]

    works.client.cancel(run)

    assert not any(" data-ages" in vera.get(part).text for part in (head, steps))
    assert vera.get(head).headers["etag"] != first.headers["etag"]


def test_a_waiting_step_says_why(site: Site, run: str) -> None:
    """With the sentence of `show --why`; only an operator has the button."""
    page = site.browser("vera").get(f"/runs/{run}").text

    assert "waits for event &#34;go_live&#34;" in page
    assert f"pgflow-yaml send {run[:8]} go_live" in page
    assert "‖" in page
    assert "/cancel" not in page
    assert f"/runs/{run}/cancel" in site.browser("otto").get(f"/runs/{run}").text


def test_json_is_what_the_command_prints(works: Works, site: Site, run: str) -> None:
    """Of a run as `show --json`, of the list as `runs --json`."""
    vera = site.browser("vera")
    shown = vera.get(f"/runs/{run}.json").json()
    listed = vera.get("/runs.json?flow=release").json()

    expected = {**works.client.run_snapshot(run, logs=True), "usual_seconds": None}
    assert {**shown, "now": ""} == json.loads(json.dumps({**expected, "now": ""}))
    assert listed == [row.as_json() for row in works.client.list_runs(flow="release")]


def test_a_part_is_the_same_alone_and_in_the_page(site: Site, run: str) -> None:
    """With its address and its mark; it is not sent again to a browser that has it."""
    vera = site.browser("vera")
    page = vera.get(f"/runs/{run}").text
    parts = dict(re.findall(r'<section class="part" id="(\w+)" data-part="([^"]+)"', page))

    assert set(parts) == set(page_of_run.PAGE.parts)
    for path in (parts["errors"], parts["values"]):
        part = vera.get(path)
        assert part.text in page
        assert f'data-live="run:{run}"' in part.text
        again = vera.get(path, headers={"if-none-match": part.headers["etag"]})
        assert (again.status_code, again.text) == (304, "")
        assert f'data-etag="{part.headers["etag"][1:-1]}"' in part.text


@pytest.mark.parametrize("rest", ["", ".json", "/parts/head?x=1", "/cancel", "/steps/%E4%B8%AD%23"])
def test_a_short_id_or_a_key_leads_to_the_run(site: Site, run: str, rest: str) -> None:
    """So that an address can be typed."""
    for text in (run[:8], "r-1", "last", run.upper(), f"urn:uuid:{run}"):
        reply = site.browser("otto").get(f"/runs/{text}{rest}")
        assert (reply.status_code, reply.headers["location"]) == (303, f"/runs/{run}{rest}")


def test_no_such_run_is_a_sentence(site: Site) -> None:
    """Of the kind that was asked for; ids that are no ids are looked up as keys."""
    vera = site.browser("vera")
    for text in (str(uuid4()), "nobody", "%3Cscript%3E", "x" * 5_000, "'; drop table runs"):
        page = vera.get(f"/runs/{text}")
        assert page.status_code in (404, 303)
        if page.status_code == 404:
            assert "there is no" in page.text
            assert "Traceback" not in page.text
    assert "there is no run" in vera.get(f"/runs/{uuid4()}.json").json()["error"]["message"]
    assert vera.get(f"/runs/{uuid4()}/parts/head").status_code == 404


def test_the_address_is_the_filter(works: Works, site: Site, run: str, failed: str) -> None:
    """The words of `runs`; each filter has a link that drops it."""
    vera = site.browser("vera")

    def ids(query: str) -> set[str]:
        return {row["id"] for row in vera.get(f"/runs.json?{query}").json()}

    assert ids("") == {run, failed}
    assert ids("status=failed") == ids("error=Boom") == ids("flow=order") == {failed}
    assert ids("status=waiting") == ids("label=team%3Dml") == ids("flow=release&since=2h") == {run}
    assert ids("since=") == {run, failed}
    assert vera.get("/?find=&flow=").status_code == 200
    assert ids("older=1h") == ids(f"parent={run}") == set()
    page = vera.get("/?status=failed&flow=order").text
    assert failed in page
    assert run not in page
    assert '<a class="chip" href="/?flow=order"' in page
    assert "No run matches" in vera.get("/?flow=release&status=failed").text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("statsu=failed", "there is no filter"),
        ("status=lost", "write started"),
        ("since=yesterday", "is not a duration"),
        ("label=team", "write name=value"),
        ("flow=" + "x" * 300, "more than 200"),
        ("flow=%00", "NUL"),
        ("parent=nobody", "there is no run"),
    ],
)
def test_a_wrong_filter_is_refused(site: Site, query: str, words: str) -> None:
    """It must not show other runs than those that were asked for."""
    reply = site.browser("vera").get(f"/?{query}")

    assert reply.status_code in (400, 404)
    assert words in reply.text


def test_an_empty_list_says_what_to_do(site: Site) -> None:
    """And has no error."""
    assert "No runs yet. <code>pgflow-yaml run" in site.browser("vera").get("/").text


def test_a_database_that_is_away_is_a_sentence(make_site: Callable[..., Site]) -> None:
    """Of the kind that was asked for, soon, without a traceback or a password."""
    site = make_site("host=/nowhere dbname=x password=hunter2")
    vera = site.browser("vera")
    page, data = vera.get(f"/runs/{uuid4()}"), vera.get("/runs.json")
    part = vera.get("/parts/list")

    for reply in (page, data, part):
        assert reply.status_code == 503
        assert "cannot connect to the database" in reply.text
        assert "hunter2" not in reply.text
    assert "could not be read" in part.text
    assert vera.get("/").status_code == 200  # the page stands, its part says so
    assert vera.get("/healthz").status_code == 200


def test_a_part_that_fails_leaves_the_others(site: Site, run: str, db: psycopg.Connection) -> None:
    """It says so in its own place."""
    db.execute("alter function pgflow.run_why(uuid) rename to run_whyever")

    reply = site.browser("vera").get(f"/runs/{run}")

    assert reply.status_code == 200
    assert "steps: could not be read" in reply.text
    assert "Input of the run" in reply.text


def test_sessions_of_pages_are_bounded(site: Site) -> None:
    """They read only, and a statement ends after five seconds."""
    with site.app.state.clients.reading() as client:
        ask: Any = client._store.ask
        assert ask("select current_setting('statement_timeout')", []) == "5s"
        assert ask("select current_setting('default_transaction_read_only')", []) == "on"
    with site.app.state.clients.writing() as client:
        ask = client._store.ask
        assert ask("select current_setting('default_transaction_read_only')", []) == "off"


def test_the_theme_is_kept_in_a_cookie(site: Site) -> None:
    """One of two, or that of the system; another text is none."""
    vera = site.browser("vera")
    for theme, shown in (("dark", 'data-theme="dark"'), ("x", '<html lang="en">')):
        reply = site.post(vera, "/theme", theme=theme, back="/runs/last")
        assert (reply.status_code, reply.headers["location"]) == (303, "/runs/last")
        assert shown in vera.get("/").text


def test_times_are_those_of_the_zone_that_was_chosen(site: Site, works: Works, run: str) -> None:
    """Each names it; a name that is no zone means UTC, and the page is the one that it was."""
    vera = site.browser("vera")
    begun = moment(works.client.run_snapshot(run)["run"]["started_at"] or "")
    for zone, name in (("Asia/Kolkata", "Asia/Kolkata"), ("../etc/passwd", "UTC"), ("", "UTC")):
        back = f"/runs/{run}?step=root"
        reply = site.post(vera, "/zone", zone=zone, back=back)
        assert (reply.status_code, reply.headers["location"]) == (303, back)
        shown = f"{begun.astimezone(ZoneInfo(name)):%Y-%m-%d %H:%M:%S} {name}"
        assert shown in vera.get(f"/runs/{run}").text


def test_a_mounted_application_knows_its_place(works: Works, run: str) -> None:
    """All links begin with the path at which another application has mounted it."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from pgflow_yaml.web import User, create_app
    from tests.web.conftest import browser

    pages = create_app(works.client, authorize=lambda _: User(name="ada", role="operator"))
    mounted: Any = Starlette(routes=[Mount("/flows", app=pages)])
    asking = browser(mounted)
    page = asking.get(f"/flows/runs/{run}")

    links = re.findall(r'(?:href|src|action|data-part)="([^"#][^"]*)"', page.text)
    assert page.status_code == 200
    assert links
    assert all(link.startswith("/flows/") for link in links)
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    path = f"/flows/runs/{run}/cancel"
    assert asking.post(path, data={"token": token[1]}).headers["location"] == f"/flows/runs/{run}"
    assert asking.get("/runs.json").status_code == 404
    pages.close()
