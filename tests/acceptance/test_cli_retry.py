"""`retry`, `failed` and `start --like`: each row of what people say, and what it means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.screen import ESCAPES, Screen
from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.working import Works

HANDLERS = """
from pathlib import Path

def check(name):
    if name in (Path(__file__).parent / "broken").read_text().split():
        raise ValueError(f"{name} broke")

def ok(): return "ok"
def item(item):
    check(f"item{item}")
    return item
def charge(amount):
    check("charge")
    return amount
"""
FLOW = """flow: shop
fail_fast: false
input: {amount: {type: integer, default: 5}}
steps:
  reserve: {handler: tasks.ok}
  fetch: {handler: tasks.item, map: "[1, 2, 3]", depends_on: [reserve], fail_fast: false, retry: 1}
  charge:
    handler: tasks.charge
    with: {amount: "${{ input.amount }}"}
    depends_on: [reserve]
    retry: 1
  ship: {handler: tasks.ok, depends_on: [fetch, charge]}
output: {amount: "${{ steps.charge.output }}", items: "${{ steps.fetch.output }}"}
"""
DONE = {"amount": 5, "items": [1, 2, 3]}


class Shop:
    """A flow, a worker, and the command line; what is broken is said in a file."""

    def __init__(self, works: Works) -> None:
        self.works = works
        self.shell = Shell(works.app.folder, works.database)
        self.shell.write("tasks.py", HANDLERS)
        self.breaks()
        works.deploy(FLOW)
        works.start(max_poll_seconds=0.05)

    def breaks(self, *names: str) -> None:
        """Say what fails from now on."""
        self.shell.write("broken", " ".join(names))

    def run(self, *broken: str, **run_input: Any) -> str:
        """A run that has ended; everything works then."""
        self.breaks(*broken)
        run = self.works.client.start("shop", run_input).id
        self.works.ended(run)
        self.breaks()
        return run

    def __call__(self, *args: str, expect: int = 0) -> Any:
        """Run the command."""
        return self.shell(*args, expect=expect)


@pytest.fixture
def shop(works: Works) -> Shop:
    """A shop that works."""
    return Shop(works)


def test_what_failed_runs_again_and_the_rest_is_kept(shop: Shop) -> None:
    """It is followed to its end; a failure names the command, also for the next time."""
    run = shop.run("charge", "item2")
    shop.breaks("charge")

    failed = shop("retry", run[:8], expect=1)
    shop.breaks()
    again = shop("retry", "last")
    shown = shop("show", run, "--step", "charge").out

    words = "again: fetch, charge, ship · kept: reserve, 2 of 3 items of fetch"
    assert failed.err.splitlines()[0] == words
    assert "fetch[1]" not in failed.err, "the failure of the first life is not told again"
    keeps = f"fix and go on   pgflow-yaml retry {run[:8]}   (keeps: reserve, fetch)"
    assert keeps in failed.err
    assert again.json == DONE
    assert shown.count("attempt 1, ") == shown.count(", before the retry") == 2
    assert "there is nothing to retry" in shop("retry", run, expect=1).err
    assert 'there is no run "nobody"' in shop("retry", "nobody", expect=2).err


def test_one_step_is_retried_and_others_stay_failed(shop: Shop) -> None:
    """--step"""
    shop.run("charge", "item2")

    result = shop("retry", "last", "--step", "charge", expect=1)
    steps = {step["slug"]: step["status"] for step in shop("show", "last", "--json").json["steps"]}

    assert "again: charge, ship · kept: reserve\n" in result.err
    assert (steps["charge"], steps["fetch"]) == ("completed", "failed")
    assert 'did you mean "charge"' in shop("retry", "last", "--step", "chrge", expect=2).err
    assert (
        "--from reserve runs it again" in shop("retry", "last", "--step", "reserve", expect=1).err
    )


def test_a_completed_step_runs_again_if_somebody_agrees(shop: Shop) -> None:
    """--from: without a terminal --yes does, on a terminal a question."""
    run = shop.run()
    words = ["retry", run, "--from", "charge"]

    refused = shop(*words, expect=2)
    with Screen(shop.shell, *words, width=100) as screen:
        eventually(lambda: screen.read() and "again?" in screen.raw)
        screen.type("n\n")
        code = screen.to_the_end()
        said = ESCAPES.sub("", screen.raw)
    before = shop("show", run, "--json").json["run"]["retries"]

    assert "already completed, and would run again: charge, ship; --yes agrees" in refused.err
    assert (code, before) == (1, 0)
    assert "nothing changed" in said
    assert shop(*words, "--yes").json == DONE


def test_what_was_tolerated_runs_again(works: Works, shop: Shop) -> None:
    """--only-failed"""
    works.deploy(FLOW.replace("retry: 1}", "retry: 1, tolerate: 1}"))
    shop.run("item2")

    hint = shop("retry", "last", expect=1).err
    result = shop("retry", "last", "--only-failed", "--yes")

    assert "--only-failed runs again what failed in spite of that" in hint
    assert "again: fetch, ship · kept: reserve, charge, 2 of 3 items of fetch" in result.err
    assert result.json == DONE


def test_an_input_goes_over_that_of_the_run(shop: Shop) -> None:
    """--input, checked as that of a start; a wrong one retries nothing."""
    run = shop.run("charge")

    wrong = shop("retry", run, "--input", "amount=many", expect=1)
    unknown = shop("retry", run, "--input", '{"amont": 1}', expect=1)
    result = shop("retry", run, "--input", "amount=7")

    assert "amount must be integer" in wrong.err
    assert "amont is not an input" in unknown.err
    assert result.json == DONE | {"amount": 7}


def test_a_run_goes_on_with_a_mended_version(works: Works, shop: Shop) -> None:
    """--on; what is kept must be the same, else both places are named."""
    run = shop.run("charge")
    works.deploy(FLOW.replace("steps:\n  reserve: {", "steps:\n\n  reserve: {timeout: 5s, "))
    refused = shop("retry", run, "--on", "latest", expect=1).err
    works.deploy(
        FLOW.replace("tasks.charge", "tasks.item").replace("with: {amount:", "with: {item:")
    )
    mended = shop("versions", "shop", "--json").json[0]["version"]

    unknown = shop("retry", run, "--on", "0000", expect=2).err
    result = shop("retry", run, "--on", mended[:6])

    before, after = re.findall(r"shop@\w+:\d+:\d+", refused)
    assert before != after
    assert 'differs in 1 step that the retry keeps: "reserve"' in refused
    assert (before[-4:], after[-4:]) == (":5:3", ":6:3")
    assert 'has no version "0000"' in unknown
    assert result.json == DONE
    assert shop("show", run, "--json").json["run"]["version"] == mended


def test_a_copy_is_retried_and_the_run_stays(works: Works, shop: Shop) -> None:
    """--as-new and --detach: the id of the copy, which is labelled."""
    run = shop.run("charge")

    copy = shop("retry", run, "--as-new", "--detach").out.strip()
    works.ended(copy)

    assert copy != run
    assert [row["id"] for row in shop("runs", "--label", f"retry_of={run}", "--json").json] == [
        copy
    ]
    assert works.client.get(copy).output == DONE
    assert works.client.get(run).status == "failed"


def test_a_start_like_another_run(works: Works, shop: Shop) -> None:
    """--like: the input of the other, the active version; more input goes over it."""
    run = shop.run("charge", amount=9)

    (one, two) = (shop("start", *words).out.strip() for words in (
        ("shop", "--like", run), ("--like", run[:8], "--input", "amount=8")))  # fmt: skip

    assert works.ended(one).output == DONE | {"amount": 9}
    assert works.ended(two).output == DONE | {"amount": 8}
    assert "name the FLOW to start" in shop("start", expect=2).err


def test_failed_work_over_all_runs(works: Works, shop: Shop) -> None:
    """List, show, retry and drop, with the same filters."""
    runs = [shop.run("charge"), shop.run("item2"), shop.run("item1", "item3")]

    rows = shop("failed", "--json").json
    text = shop("failed", "--error", "item2 broke").out
    shown = shop("failed", "show", f"{runs[0][:8]}/charge").out
    kept = shop("failed", "drop", "--older", "1h", "--version", "0000", "--yes")
    typed = shop("failed", "--error", "valueerror: 2 of 3", "--json").json
    asked = shop("failed", "retry", "--step", "fetch", expect=2).err
    dropped = shop("failed", "drop", runs[0][:8], "--yes").out
    retried = shop("failed", "retry", "--step", "fetch", "--yes").out

    assert [(row["run_id"], row["step"], row["items"]) for row in rows] == [
        (runs[2], "fetch", 2), (runs[1], "fetch", 1), (runs[0], "charge", None),
    ]  # fmt: skip
    assert "dropped" not in kept.out
    assert [row["run_id"] for row in typed] == [runs[2]]
    assert f"{runs[1][:8]}/fetch" in text
    assert len(text.splitlines()) == 2
    assert "charge broke" in shown
    assert "this would retry 2 runs; --yes agrees" in asked
    assert dropped.endswith("dropped 1 run\n")
    assert retried.endswith("retried 2 runs\n")
    assert [works.ended(run).status for run in runs] == ["failed", "completed", "completed"]
    assert shop("failed", "--json").json == []
    assert "takes one ROW" in shop("failed", "show", expect=2).err
    assert 'there is no flow "shp"' in shop("failed", "--flow", "shp", expect=2).err
