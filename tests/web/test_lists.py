"""The list of runs by pages, the flows, a flow: what they show, and that all of it is text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.web.live.watcher import is_watchable, list_name, marks

if TYPE_CHECKING:
    from tests.fixtures.working import Works
    from tests.web.conftest import Site

CANARY = "<script>alert(1)</script>\x1b[31mred\x1b[0m\u202e\"'&"
FLOW = """
flow: order
description: "Ship <b>it</b>"
input:
  note: {{type: string, description: "what <i>for</i>", default: "<script>alert(2)</script>"}}
  amount: {{type: integer}}
schedule: {{cron: "0 2 * * *", input: {{amount: 1}}}}
steps:
  go_live: {{wait: {{event: go_live{rest}}}}}  # <script>alert(3)</script>
"""
WRONG = {
    "/flows/ordr": "did you mean",
    "/flows/order?version=zz": "has no version",
    "/flows/order?diff=1": "write two versions",
    "/flows/order?diff=zz..yy": "has no version",
    "/flows/order/start?like=nobody": "there is no run",
    "/flows/order/activate": "name the version",
    "/flows/%3Cscript%3E": "there is no flow",
    "/?flow=ordr": "did you mean",
}


@pytest.fixture
def versions(works: Works) -> list[str]:
    """The two versions of a flow that waits, the active one first."""
    for rest in ("", ", timeout: 2d"):
        works.deploy(FLOW.format(rest=rest))
    return [row.version for row in works.client.list_versions("order")]


def test_pages_of_runs_have_each_run_once(works: Works, site: Site, versions: list[str]) -> None:
    """Newest first, by links that keep the filter; an older page is not watched."""
    ids = works.client.start_many("order", [{"amount": n} for n in range(120)])
    vera = site.browser("vera")
    found, path = [], "/?flow=order"
    while path:
        page = vera.get(path).text
        found += re.findall(r'href="/runs/([0-9a-f-]{36})"><code>', page)
        link = re.search(r'href="([^"]+)" rel="next"', page)
        path = link[1].replace("&amp;", "&") if link else ""
        assert "flow=order" in path or not path

    assert len(found) == 120
    assert set(found) == set(ids)
    assert 'data-live="runs' not in page
    assert "Newest" in page
    listed, path = [], "/runs.json?flow=order"
    while path:
        data = vera.get(path)
        listed += [row["id"] for row in data.json()]
        link = re.fullmatch('<(.+)>; rel="next"', data.headers.get("link", ""))
        path = link[1] if link else ""
    assert listed == found
    assert versions


def test_a_run_is_found_by_its_key(works: Works, site: Site, run: str) -> None:
    """Or by the beginning of its id; what is none says so."""
    vera = site.browser("vera")
    for text in ("r-1", run[:8]):
        assert vera.get(f"/?find={text}").headers["location"] == f"/runs/{run}"
    assert "there is no run" in vera.get("/?find=nobody").text


def test_flows_stand_above_their_runs(works: Works, site: Site, versions: list[str]) -> None:
    """With their last runs as links, and the next tick; for one flow by its filter."""
    run = works.client.start("order", {"amount": 1}).id
    works.deploy("flow: other\nsteps:\n  a: {wait: {event: x}}\n")
    vera = site.browser("vera")

    for path in ("/", "/?flow=order", "/flows", "/flows/order"):
        page = vera.get(path).text
        assert f'href="/runs/{run}"' in page
        assert "pg-strip" in page
        assert ">2 running" not in page
    assert "pg-strip" not in vera.get("/?status=failed").text
    assert "1 without a run" in vera.get("/flows").text
    assert vera.get("/flows.json").json()[0]["name"] == "order"
    assert versions


def test_a_flow_shows_its_versions(works: Works, site: Site, versions: list[str]) -> None:
    """Graph, text with numbers, what differs; its JSON is that of `versions` and of `diff`."""
    new, old = versions
    vera = site.browser("vera")
    page = vera.get("/flows/order").text

    assert f"active <code>{new}</code>" in page
    assert "pg-graph" in page
    assert 'id="step-go_live"' in page
    assert 'href="#step-go_live"' in page
    assert "timeout: 2d" in page
    assert "timeout: 2d" not in vera.get(f"/flows/order?version={old[:6]}").text
    assert "activate" not in page
    rows = [row.as_json() for row in works.client.list_versions("order")]
    assert vera.get("/flows/order.json").json() == rows
    between = vera.get(f"/flows/order?diff={old}..{new}").text
    assert f"order: 1 change from version {old} to version {new}" in between
    assert "2d" in between
    expected = works.client.compare_versions("order", old, new).as_json()
    assert vera.get(f"/flows/order.json?diff={old[:5]}..{new}").json() == expected


def test_what_a_flow_says_comes_out_as_text(works: Works, site: Site, versions: list[str]) -> None:
    """On every page about it; without escapes for terminals."""
    new, old = versions
    run = works.client.start("order", {"amount": 1, "note": CANARY}, labels={"a": CANARY}).id
    otto = site.browser("otto")
    paths = ["/", "/flows", "/flows/order", f"/flows/order?diff={old}..{new}"]
    paths += [f"/flows/order/start?like={run}", f"/flows/order/activate?version={old}"]
    for path in paths:
        reply = otto.get(path)
        assert reply.status_code == 200, path
        assert not re.search("<(script>alert|b>it|i>for)", reply.text), path
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", reply.text), path
        assert "style=" not in reply.text


def test_what_is_not_there_is_a_sentence(site: Site, versions: list[str]) -> None:
    """With the status of a mistake of the address."""
    otto = site.browser("otto")
    for path, words in WRONG.items():
        reply = otto.get(path)
        assert reply.status_code in (400, 404), path
        assert words in reply.text, path
    assert versions


def test_no_flow_yet(site: Site) -> None:
    """It says how to store one."""
    assert "pgflow-yaml compile order.flow.yaml" in site.browser("vera").get("/flows").text


def test_a_version_is_activated(works: Works, site: Site, versions: list[str], db: object) -> None:
    """After a look at what it changes; the audit has the name of who did it."""
    new, old = versions
    otto = site.browser("otto")
    path = f"/flows/order/activate?version={old}"
    asked = otto.get(path).text
    assert f"from version {new} to version {old}" in asked
    assert path in otto.get("/flows/order").text

    reply = site.post(otto, path)

    assert (reply.status_code, reply.headers["location"]) == (303, "/flows/order")
    assert f"activated order {old}" in otto.get("/flows/order").text
    assert works.client.list_versions("order")[1].active
    audit = "select who, details->>'version' from pgflow.audit where action = 'activate'"
    assert db.execute(audit).fetchall() == [("otto", old)]  # type: ignore[attr-defined]
    assert "is the active one already" in otto.get(path).text


def test_a_filtered_list_is_watched_as_itself(
    works: Works, site: Site, versions: list[str]
) -> None:
    """Its mark changes with the runs that the filter finds, and not with others."""
    works.deploy("flow: other\nsteps:\n  a: {wait: {event: x}}\n")
    works.client.start("order", {"amount": 1})
    page = site.browser("vera").get("/?flow=order&label=team%3Da,b&label=&all=1").text
    names = re.findall(r'data-live="([^"]*)"', page)
    name = list_name([("flow", "order"), ("label", "team=a,b"), ("all", "1")])
    assert set(names) == {name}
    assert is_watchable(name)
    assert re.fullmatch(r"runs:[\w-]+", name)

    order = list_name([("flow", "order")])
    before = marks(works.client, [order, name])
    works.client.start("other")
    assert marks(works.client, [order, name]) == {order: before[order], name: before[name]}
    works.client.start("order", {"amount": 2}, labels={"team": "a,b"})
    after = marks(works.client, [order, name])
    assert after[order] != before[order]
    assert after[name] != before[name]
    wrong = [list_name([pair]) for pair in (("x", "1"), ("flow", "a\0"), ("flow", "nobody"))]
    wrong += ["runs:A", "runs:____"]
    assert marks(works.client, wrong) == dict.fromkeys(wrong, "gone")
    assert versions
