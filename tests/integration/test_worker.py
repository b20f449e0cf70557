"""Client and worker on a real database: what handlers get, and what comes of what they do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works


def outcome(works: Works, body: str, step: str = "{handler: shop.go}", **input_: Any) -> Any:
    """The only step of a flow whose handler has this body, once nothing more happens to it."""
    works.app.write("shop.py", f"import math, sys, datetime\n{body}\n")
    works.deploy(f"flow: one\ninput: {{x: {{default: 7}}}}\nsteps:\n  go: {step}\n")
    run = works.client.start("one", input_)
    works.drain()
    return works.client.run_snapshot(run.id)


def test_data_flows_as_the_language_says(works: Works) -> None:
    """A root gets the input, a dependent its dependencies' outputs, a map task its item."""
    works.app.write(
        "shop.py",
        """
        def root(input): return {"rows": [input["n"], 2], "n": input["n"]}
        def item(row, ctx): return [row, ctx.index]
        def named(row, at, n): return {"row": row, "at": at, "n": n}
        def share(input, ctx): input.setdefault("seen", []).append(ctx.index); return input
        async def joined(outputs): return outputs
        """,
    )
    works.deploy(
        """
        flow: data
        input: {n: {type: integer}}
        steps:
          root: {handler: shop.root}
          plain: {handler: shop.item, depends_on: [root], map: steps.root.output.rows}
          named:
            handler: shop.named
            depends_on: [root]
            map: steps.root.output.rows
            with: {row: "${{ item }}", at: "at ${{ index }}", n: "${{ input.n }}"}
          shares: {handler: shop.share, initial_tasks: 3}
          taken: {handler: shop.share, initial_tasks: 2, with: "${{ input }}"}
          joined: {handler: shop.joined, depends_on: [plain, named, shares, taken]}
        """
    )
    run = works.client.start("data", {"n": 1})

    works.drain()

    assert works.client.get(run.id).output == {
        "joined": {
            "plain": [[1, 0], [2, 1]],
            "named": [{"row": 1, "at": "at 0", "n": 1}, {"row": 2, "at": "at 1", "n": 1}],
            "shares": [{"n": 1, "seen": [0]}, {"n": 1, "seen": [1]}, {"n": 1, "seen": [2]}],
            "taken": [{"n": 1, "seen": [0]}, {"n": 1, "seen": [1]}],
        }
    }


def test_the_context_says_which_attempt_this_is(works: Works) -> None:
    """Attempts grow, the idempotency key stays, the run input is at hand."""
    body = """
def go(input, ctx):
    facts = [ctx.run_id, ctx.attempt, ctx.idempotency_key, ctx.run_input, ctx.cancelled]
    if ctx.attempt < 2:
        raise ValueError("again")
    return facts
"""
    found = outcome(works, body, "{handler: shop.go, retry: {max_attempts: 2, base_delay: 0s}}")

    if found["run"]["status"] == "started":  # the back-off was still going on
        works.drain()
        found = works.client.run_snapshot(found["run"]["id"])
    run_id = found["run"]["id"]
    assert found["steps"][0]["output"] == [run_id, 2, f"{run_id}/go/0/0", {"x": 7}, False]


@pytest.mark.parametrize(
    ("body", "type_", "message"),
    [
        ("def go(x): raise SystemExit(3)", "SystemExit", "3"),
        ("def go(x): sys.exit('bye')", "SystemExit", "bye"),
        ("def go(x): raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("def go(x): raise GeneratorExit", "GeneratorExit", ""),
        ("def go(x): raise MemoryError('much')", "MemoryError", "much"),
        ("def go(x): return go(x)", "RecursionError", "maximum recursion depth"),
        ("async def go(x): raise SystemExit(3)", "SystemExit", "3"),
        ("async def go(x): raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("def go(x): raise ValueError('a\\0b')", "ValueError", "a�b"),
    ],
)
def test_whatever_a_handler_raises_fails_its_attempt_only(
    works: Works, body: str, type_: str, message: str
) -> None:
    """The worker survives and says what happened, with the place (R-5, F20, F22)."""
    found = outcome(works, body, "{handler: shop.go, retry: 1}")

    assert found["run"]["status"] == "failed"
    error = found["errors"][0]
    assert error["type"] == type_
    assert message in error["message"]
    assert "shop.py" in error["trace"]


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ("{'a': ['x', 'nul\\0']}", "$.a[1]"),
        ("{'a\\0': 1}", "$['a\\x00']"),
        ("['\\ud800']", "$[0]"),
        ("{'n': math.nan}", "$.n"),
        ("[math.inf]", "$[0]"),
        ("{'s': {1, 2}}", "$.s"),
        ("b'x'", "$"),
        ("datetime.datetime.now()", "$"),
        ("'x' * 3_000_000", "$"),
        ("10 ** 5000", "$"),
        ("x.append(x) or x", "$[0][0]"),
        ("(i for i in [])", "$"),
    ],
)
def test_an_output_without_json_fails_at_once_with_its_place(
    works: Works, expression: str, path: str
) -> None:
    """No second attempt: the same code would return the same (R-9, F20)."""
    found = outcome(works, f"def go(y):\n    x = []\n    return {expression}\n")

    (error,) = found["errors"]
    assert (error["type"], error["attempt"], error["final"]) == ("UnserialisableOutput", 1, True)
    assert error["message"].startswith(f"output {path}")


def test_the_neighbours_of_a_bad_output_complete(works: Works) -> None:
    """In a batch only the bad one fails."""
    works.app.write("shop.py", "def go(i): return b'' if i == 3 else i\n")
    works.deploy(
        """
        flow: mixed
        input: {items: {type: array}}
        steps:
          go: {handler: shop.go, map: input.items, when_exhausted: skip}
        """
    )
    run = works.client.start("mixed", {"items": list(range(6))})

    works.drain()

    (error,) = works.client.run_snapshot(run.id)["errors"]
    assert error["index"] == 3


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        ("def go(a, b): return 1", "TypeError"),
        ("from pgflow_yaml import PermanentError\ndef go(x): raise PermanentError('no')",
         "PermanentError"),
    ],
)  # fmt: skip
def test_what_another_attempt_cannot_heal_is_not_tried_again(
    works: Works, body: str, type_: str
) -> None:
    """PermanentError and a call that does not fit end the task at its first attempt."""
    (error,) = outcome(works, body)["errors"]

    assert (error["type"], error["final"]) == (type_, True)


def test_retry_later_waits_as_long_as_it_says(works: Works) -> None:
    """The handler's delay replaces the back-off, and counts as an attempt."""
    body = """
from pgflow_yaml import RetryLater
def go(x): raise RetryLater(3600)
"""
    found = outcome(works, body)

    (error,) = found["errors"]
    assert (error["type"], error["final"]) == ("RetryLater", False)
    assert found["steps"][0]["status"] == "started"
    assert found["steps"][0]["retry_at"] > found["now"]


def test_an_async_function_behind_a_plain_one_is_explained(works: Works) -> None:
    """A coroutine is no output; the sentence says what to do."""
    found = outcome(works, "async def inner(x): return x\ndef go(x): return inner(x)\n")

    (error,) = found["errors"]
    assert "`async def`" in error["message"]


def test_a_missing_handler_is_left_to_others(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    """No attempt is used, the worker lives, and a capable worker completes the run (R-6, F31)."""
    works.app.write("shop.py", "def here(x): return 1\n")
    works.deploy(
        """
        flow: partly
        steps:
          here: {handler: shop.here}
          there: {handler: elsewhere.there}
        """
    )
    run = works.client.start("partly")
    works.start()
    eventually(lambda: works.client.get(run.id).steps[0].status == "completed")
    eventually(lambda: "elsewhere.there is not available" in caplog.text)

    works.app.write("elsewhere.py", "def there(x): return 2\n")
    works.start()

    found = works.ended(run.id)
    assert found.output == {"here": 1, "there": 2}
    assert [step.attempts for step in found.steps] == [1, 1]


def test_a_forged_handler_is_never_imported(works: Works, db: psycopg.Connection) -> None:
    """What the database says about handlers does not matter (S-8)."""
    works.app.write("shop.py", "def go(x): return 1\n")
    works.deploy("flow: forged\nsteps:\n  go: {handler: shop.go}\n")
    db.execute("update pgflow.steps set handler = 'os.getpid'")
    run = works.client.start("forged")

    works.drain()

    assert works.client.get(run.id).status == "started"
    assert works.client.get(run.id).steps[0].output is None


def test_many_threads_share_the_work(works: Works) -> None:
    """As many handlers run at once as `concurrency` says, no more."""
    works.app.write(
        "shop.py",
        """
        import threading
        meet = threading.Barrier(4, timeout=20)
        def go(i):
            meet.wait()
            return threading.get_ident()
        """,
    )
    works.deploy(
        """
        flow: wide
        input: {items: {type: array}}
        steps:
          go: {handler: shop.go, map: input.items}
        """
    )
    run = works.client.start("wide", {"items": list(range(8))})

    works.start(concurrency=4)

    output = works.ended(run.id).steps[0].output
    assert isinstance(output, list)
    assert len(output) == 8
    assert len(set(map(str, output))) == 4


def test_a_large_output_is_pointed_out(works: Works, caplog: pytest.LogCaptureFixture) -> None:
    """From 256 KB on there is a warning; it completes all the same (R-9)."""
    found = outcome(works, "def go(x): return 'x' * 300_000")

    assert found["run"]["status"] == "completed"
    (warned,) = [each for each in caplog.records if each.__dict__.get("action") == "large"]
    assert warned.__dict__["step"] == "go"


def test_the_worker_thread_count_is_bounded(works: Works) -> None:
    """A wide map does not make more threads than slots."""
    works.app.write("shop.py", "def go(i): return i\n")
    works.deploy(
        """
        flow: wide
        input: {items: {type: array}}
        steps:
          go: {handler: shop.go, map: input.items}
        """
    )
    run = works.client.start("wide", {"items": list(range(2000))})
    worker = works.worker(concurrency=3, burst=True)
    most = 0

    thread = threading.Thread(target=worker.run)
    thread.start()
    while thread.is_alive():
        most = max(most, sum(t.name == "pgflow-handler" for t in threading.enumerate()))
        thread.join(0.005)

    assert works.client.get(run.id).output == {"go": list(range(2000))}
    assert 1 <= most <= 3
