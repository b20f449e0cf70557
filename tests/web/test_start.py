"""Start by a form made from the `input` of a flow, and again with that of a run."""

from __future__ import annotations

import html
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.web.fields import json_text, read
from pgflow_yaml.web.sent import Sent
from pgflow_yaml.web.table import Done

if TYPE_CHECKING:
    import psycopg

    from pgflow_yaml.language.model import Json
    from tests.fixtures.working import Works
    from tests.web.conftest import Site

FLOW = """
flow: order
input:
  note: {type: string, default: "none"}
  count: {type: integer, description: How many, minimum: 1}
  express: {type: boolean, default: false}
  size: {enum: [small, large, 3]}
  items: {type: array, items: {type: string}, default: []}
steps:
  a: {wait: {event: x}}
"""
PATH = "/flows/order/start"


@pytest.fixture
def order(works: Works) -> str:
    """A flow with inputs of several types."""
    return works.deploy(FLOW)


def test_a_run_starts_by_the_form(
    works: Works, site: Site, order: str, db: psycopg.Connection
) -> None:
    """A field for each input, in the order of the text; what is empty has its default."""
    otto = site.browser("otto")
    assert f'href="{PATH}"' in otto.get(f"/flows/{order}").text
    assert PATH not in site.browser("vera").get(f"/flows/{order}").text
    asked = otto.get(PATH).text
    names = re.findall(r'name="input\.(\w+)"', asked)
    assert names == ["note", "count", "express", "size", "items"]
    assert "How many" in asked
    values = re.findall(r'<option value="([^"]*)"', asked)
    assert [html.unescape(text) for text in values] == [
        *("", "true", "false"),
        *("", '"small"', '"large"', "3"),
    ]

    typed = {"input.count": "2", "input.size": '"large"', "input.items": '["a"]', "input.note": ""}
    reply = site.post(otto, PATH, **typed, key="k1", labels="team=ml\n\n tier=a=b ")

    assert reply.status_code == 303
    run = works.client.get(reply.headers["location"].removeprefix("/runs/"))
    filled = {"note": "none", "express": False}
    assert run.input == {**filled, "count": 2, "size": "large", "items": ["a"]}
    assert (run.key, dict(run.labels)) == ("k1", {"team": "ml", "tier": "a=b"})
    page = otto.get(f"/runs/{run.id}").text
    assert f"run {run.id[:8]} started" in page
    assert "started by otto" in page
    assert f"{PATH}?like={run.id}" in page
    audit = "select who, subject from pgflow.audit where action = 'start'"
    assert db.execute(audit).fetchall() == [("otto", run.id)]
    again = site.post(otto, PATH, **typed, key="k1")
    assert again.headers["location"] == f"/runs/{run.id}"
    assert "this key was used before" in otto.get(f"/runs/{run.id}").text


def test_a_refused_form_names_each_field(works: Works, site: Site, order: str) -> None:
    """With what was typed; nothing starts."""
    otto = site.browser("otto")
    typed = {
        "input.count": "zero",
        "input.size": '"huge"',
        "input.items": "[1",
        "input.note": "<b>",
    }
    reply = site.post(otto, PATH, **typed)
    assert reply.status_code == 422
    assert "items is not JSON" in reply.text
    assert 'value="&lt;b&gt;"' in reply.text

    reply = site.post(otto, PATH, **{**typed, "input.items": "[1]"})
    assert "count must be integer" in reply.text
    assert "size must be one of" in reply.text
    assert reply.text.count('aria-invalid="true"') == 3
    for more in ({"labels": "team"}, {"labels": "a=1\na=2"}, {"json": "{"}, {"json": "[]"}):
        refused = site.post(otto, PATH, **{"input.count": "1", "input.size": "3", **more})
        assert refused.status_code in (400, 422), more
    assert works.client.list_runs() == []
    assert order


def test_a_run_starts_again(works: Works, site: Site, order: str) -> None:
    """The form has the input of a run: left as it is, it starts one with the same input."""
    before = {"note": 'a\n "b" ', "count": 3, "express": True, "size": 3, "items": ["é", "\u202e"]}
    otto = site.browser("otto")
    for model in (before, {**before, "note": ""}, {**before, "note": "tab\t\x1b[0m ##[x]"}):
        run = works.client.start(order, model)
        asked = otto.get(f"{PATH}?like={run.id}").text
        reply = site.post(otto, f"{PATH}?like={run.id}", **typed(asked))
        assert reply.status_code == 303, reply.text
        again = works.client.get(reply.headers["location"].removeprefix("/runs/"))
        assert (again.input, again.id != run.id) == (run.input, True)


def test_an_empty_text_that_is_not_meant_any_more(works: Works, site: Site, order: str) -> None:
    """The box stays in a form that was refused, as it was left."""
    run = works.client.start(order, {"note": "", "count": 3, "size": 3})
    otto = site.browser("otto")
    path, box = f"{PATH}?like={run.id}", 'name="blank.note" value="1"'
    assert f"{box} checked" in otto.get(path).text
    left = {"input.note": "", "input.count": "no", "input.size": "3"}

    refused = site.post(otto, path, **left).text

    assert (box in refused, f"{box} checked" in refused) == (True, False)
    assert f"{box} checked" in site.post(otto, path, **left, **{"blank.note": "1"}).text


def test_a_form_that_is_sent_twice_starts_one_run(works: Works, site: Site, order: str) -> None:
    """By a double click; the form of a page that is loaded again is another one."""
    otto = site.browser("otto")
    forms = [re.search(r'name="sent" value="(\w+)"', otto.get(PATH).text) for _ in range(2)]
    first, second = (form[1] for form in forms if form)
    wrong, right = {"input.size": "3"}, {"input.count": "1", "input.size": "3"}
    assert site.post(otto, PATH, **wrong, sent=first).status_code == 422

    ways = [
        site.post(otto, PATH, **right, sent=sent).headers["location"]
        for sent in (first, first, second)
    ]

    assert (ways[0] == ways[1], ways[1] == ways[2]) == (True, False)
    assert len(works.client.list_runs()) == 2
    assert order


def test_two_of_the_same_at_once_are_one() -> None:
    """The second waits for what the first does, and fails as that does."""
    sent, inside, go_on, done = Sent(), Event(), Event(), Done(to="/", said="done")

    def act() -> Done:
        inside.set()
        go_on.wait(20)
        return done

    def fail() -> Done:
        raise PgflowError("no")

    with ThreadPoolExecutor() as pool:
        first = pool.submit(sent.once, "a", act)
        assert inside.wait(20)
        second = pool.submit(sent.once, "a", fail)
        go_on.set()
        assert first.result() is second.result() is done
    for _ in range(2):
        with pytest.raises(PgflowError):
            sent.once("b", fail)
    assert sent.once("b", act) is done


def typed(page: str) -> dict[str, str]:
    """What a browser sends of a form."""
    plain = r'<input (?:id="[^"]*" )?name="([^"]*)" value="([^"]*)"'
    fields = dict(re.findall(plain, page))
    for name, rest, text in re.findall(r'<textarea[^>]*name="([^"]*)"([^>]*)>\n([^<]*)<', page):
        fields[name] = text.replace("\n", "\r\n") if rest else text
    choice = re.compile(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', re.DOTALL)
    for name, options in choice.findall(page):
        chosen = re.search(r'value="([^"]*)" selected', options)
        fields[name] = chosen[1] if chosen else ""
    for name in re.findall(r'<input type="checkbox" name="([^"]*)" value="1" checked', page):
        fields[name] = "1"
    return {name: html.unescape(text) for name, text in fields.items()}


def test_a_flow_without_fields(works: Works, site: Site) -> None:
    """One that takes nothing starts by the button alone; one without an active version does not."""
    works.deploy("flow: plain\nsteps:\n  a: {wait: {event: x}}\n")
    otto = site.browser("otto")
    assert "takes no input" in otto.get("/flows/plain/start").text
    assert site.post(otto, "/flows/plain/start").status_code == 303
    assert otto.get("/flows/nothing/start").status_code == 404


def test_a_text_of_json_has_no_control_characters() -> None:
    """And means the same value."""
    values: list[Json] = ["a\tb", "\x1b[1m", "##[x", {"a": ["\u202e", 1]}]
    for value in values:
        text = json_text(value)
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
        assert "##[" not in text
        assert read({}, {"json": text}) == (value, [])
