"""The pages of a step with items, of one task and of the log: one run for all, with canaries."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.runs.logs import LogFilter
from pgflow_yaml.web.pages import items

if TYPE_CHECKING:
    from tests.fixtures.working import Works
    from tests.web.conftest import Site

CANARY = "<script>alert(1)</script>\x1b[31mred\x1b[0m\u202e\"'&"
FLOW = """
flow: import
input: {names: {type: array}}
steps:
  fetch:
    {handler: shop.fetch, map: input.names, tolerate: 50%, retry: 1, with: {name: "${{ item }}"}}
  ask: {wait: {event: yes}}
  late: {handler: shop.late, depends_on: [ask]}
"""
HANDLERS = f"""
import logging
def fetch(name):
    logging.getLogger("shop").warning("fetching %s", name)
    if name == "bad":
        logging.getLogger("shop").error("no " + {CANARY!r})
        raise type("Boom<b>", (Exception,), {{}})({CANARY!r})
    return {{"name": name, "note": {CANARY!r}}}
def late(): ...
"""
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def imported(works: Works) -> str:
    """The id of a run of 6 items, of which 1 and 4 failed; it waits for an event."""
    works.app.write("shop.py", HANDLERS)
    works.deploy(FLOW)
    names = ["a", "bad", "b", CANARY, "bad", "c"]
    run = works.client.start("import", {"names": names}).id
    works.drain()
    return run


def test_items_tasks_and_log(works: Works, site: Site) -> None:
    """One run for all: starting its worker takes longer than the pages."""
    run = imported(works)
    _items_are_shown(site, run)
    _a_task_is_shown(site, run)
    _the_log_is_shown(works, site, run)
    _what_others_wrote_is_text(site, run)
    _json_is_that_of_the_commands(works, site, run)
    _what_is_not_there_is_a_sentence(site, run)


def _items_are_shown(site: Site, run: str) -> None:
    vera = site.browser("vera")
    page = vera.get(f"/runs/{run}/steps/fetch").text

    def indexes(query: str) -> list[str]:
        text = vera.get(f"/runs/{run}/steps/fetch?{query}").text
        return re.findall(rf'<a href="/runs/{run}/steps/fetch/(\d+)">', text)

    assert "<title>✓ fetch · import" in page
    assert 'aria-label="6 items: 4 completed, 2 failed"' in page
    assert f'data-cells="/runs/{run}/steps/fetch/" data-begin="0" data-count="6"' in page
    assert indexes("") == ["1", "4"]
    assert indexes("status=all") == ["0", "1", "2", "3", "4", "5"]
    assert indexes("status=completed&first=3") == ["3", "5"]
    assert "From the beginning" in vera.get(f"/runs/{run}/steps/fetch?first=3").text
    assert "No item from 5 on is failed" in vera.get(f"/runs/{run}/steps/fetch?first=5").text
    whole = vera.get(f"/runs/{run}?step=fetch").text
    assert f'<a href="/runs/{run}/steps/fetch">All items</a>' in whole
    assert f'<a href="/runs/{run}/logs?step=fetch">' in whole
    wait = vera.get(f"/runs/{run}/steps/ask").text
    assert "waits for event" in wait
    assert "it calls no handler" in wait
    late = vera.get(f"/runs/{run}/steps/late")
    assert (late.status_code, late.headers["location"]) == (303, f"/runs/{run}/steps/late/0")


def _a_task_is_shown(site: Site, run: str) -> None:
    vera = site.browser("vera")
    failed = vera.get(f"/runs/{run}/steps/fetch/1").text
    done = vera.get(f"/runs/{run}/steps/fetch/0").text
    later = vera.get(f"/runs/{run}/steps/late/0").text

    assert "<title>✗ fetch[1] · import" in failed
    assert "Traceback" in failed
    assert "in fetch" in failed
    assert "1 of 1" in failed
    assert "&#34;name&#34;: &#34;bad&#34;" in failed
    assert "fetching bad" in failed
    assert f"/runs/{run}/steps/fetch/0" in failed
    assert f"/runs/{run}/steps/fetch/2" in failed
    assert "✓" in done
    assert "fetching a" in done
    assert "fetching b" not in done
    assert "is not made yet" in later


def _the_log_is_shown(works: Works, site: Site, run: str) -> None:
    vera = site.browser("vera")
    base = f"/runs/{run}/logs"

    def texts(query: str) -> list[str]:
        return [line["text"] for line in vera.get(f"{base}.json?{query}").json()]

    assert len(texts("")) == 8
    assert texts("index=0") == ["fetching a"]
    assert sorted(texts("q=FETCHING+B")) == ["fetching b", "fetching bad", "fetching bad"]
    assert len(texts("level=error")) == 2
    assert len(texts("failed=1&step=fetch")) == 4
    assert texts("q=nothing") == texts("step=late") == texts("attempt=2") == []
    assert texts("newer=6") == texts("")[:2]
    page = vera.get(f"{base}?level=error&newer=1").text
    assert f'<a href="{base}?level=error">Newer lines' in page
    assert f"pgflow-yaml logs {run[:8]} --level error" in page
    assert "No line matches." in vera.get(f"{base}?q=nothing").text
    live = f'data-live="run:{run}"'
    assert [live in vera.get(base + more).text for more in ("", "?newer=1", "?q=a")] == [
        *(True, False, False)
    ]
    other = works.client.start("import", {"names": []}).id
    assert "have not printed or logged anything" in vera.get(f"/runs/{other}/logs").text


def _what_others_wrote_is_text(site: Site, run: str) -> None:
    vera = site.browser("vera")
    steps = f"/runs/{run}/steps"
    paths = [f"{steps}/fetch", f"{steps}/fetch/1", f"{steps}/fetch/3", f"/runs/{run}/logs"]
    paths += [f"{steps}/fetch/parts/items", f"{steps}/fetch/1/parts/attempts"]
    for path in paths:
        text = vera.get(path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "<script>alert" not in text
        assert "<b>" not in text
        assert "style=" not in text
        assert not CONTROL.search(text)


def _json_is_that_of_the_commands(works: Works, site: Site, run: str) -> None:
    vera = site.browser("vera")
    shown = vera.get(f"/runs/{run}/steps/fetch.json").json()
    task = vera.get(f"/runs/{run}/steps/fetch/1.json").json()
    lines = vera.get(f"/runs/{run}/logs.json?index=1").json()

    assert [step["slug"] for step in shown["steps"]] == ["fetch"]
    assert shown["steps"][0]["items"] == [
        *("completed", "failed", "completed", "completed", "failed", "completed")
    ]
    item = works.client.task_snapshot(run, "fetch", 1)
    assert task["steps"][0]["item"] == json.loads(json.dumps(item))
    base = f"/runs/{run}/steps/fetch.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "SHOWN", 1)
        one = vera.get(f"{base}?status=failed&first=0")
    rest = vera.get(one.headers["link"].partition(">")[0][1:])
    assert [item["index"] for item in one.json() + rest.json()] == [1, 4]
    assert "link" not in rest.headers
    assert [vera.get(f"{base}?{wrong}").status_code for wrong in ("x=1", "first=x")] == [400, 400]
    assert lines == [line.as_json() for line in works.client.run_logs(run, LogFilter(index=1))]


def _what_is_not_there_is_a_sentence(site: Site, run: str) -> None:
    vera = site.browser("vera")
    for path, status, words in (
        ("steps/fetchh", 404, "did you mean"),
        ("steps/fetch/6", 404, "the last one is 5"),
        ("steps/fetch/-1", 404, "has no item"),
        ("steps/fetch/99999999999", 404, "has no item"),
        ("steps/fetch/%3Cb%3E", 404, "has no item"),
        ("steps/late/1", 404, "has no item"),
        ("steps/fetch?status=lost", 400, "write all, failed"),
        ("steps/fetch?first=x", 400, "write a number"),
        ("steps/fetch?filter=x", 400, "there is no filter"),
        ("logs?step=lat", 404, "did you mean"),
        ("logs?level=loud", 400, "write debug"),
        ("logs?since=x", 400, "is not a duration"),
        ("logs?newer=99999", 400, "write a number"),
    ):
        reply = vera.get(f"/runs/{run}/{path}")
        assert reply.status_code == status, path
        assert words in reply.text, path
