"""Client and worker on a real database: the arguments of handlers and their outcomes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.working import Works


def outcome(works: Works, body: str, step: str = "{handler: shop.go}", **input_: Any) -> Any:
    """Return the snapshot of a run whose only handler has this body, once the worker is idle."""
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


def test_the_context_names_the_attempt(works: Works) -> None:
    """Attempts grow, the idempotency key stays, the run input is available."""
    body = """
def go(input, ctx):
    facts = [ctx.run_id, ctx.attempt, ctx.idempotency_key, ctx.run_input, ctx.cancelled]
    if ctx.attempt < 2:
        raise ValueError("again")
    return facts
"""
    snapshot = outcome(works, body, "{handler: shop.go, retry: {max_attempts: 2, base_delay: 0s}}")

    if snapshot["run"]["status"] == "started":  # the back-off was still going on
        works.drain()
        snapshot = works.client.run_snapshot(snapshot["run"]["id"])
    run_id = snapshot["run"]["id"]
    assert snapshot["steps"][0]["output"] == [run_id, 2, f"{run_id}/go/0/0", {"x": 7}, False]


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
def test_any_exception_of_a_handler_fails_its_attempt_only(
    works: Works, body: str, type_: str, message: str
) -> None:
    """The worker survives and reports the exception with its trace (R-5, F20, F22)."""
    snapshot = outcome(works, body, "{handler: shop.go, retry: 1}")

    assert snapshot["run"]["status"] == "failed"
    error = snapshot["errors"][0]
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
        ("'x' * 3_000_000", "$"),
        ("10 ** 5000", "$"),
        ("x.append(x) or x", "$[0][0]"),
        ("(i for i in [])", "$"),
    ],
)
def test_an_output_without_json_fails_at_once_with_its_path(
    works: Works, expression: str, path: str
) -> None:
    """No second attempt: the same code would return the same (R-9, F20)."""
    snapshot = outcome(works, f"def go(y):\n    x = []\n    return {expression}\n")

    (error,) = snapshot["errors"]
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
def test_a_permanent_failure_is_not_retried(works: Works, body: str, type_: str) -> None:
    """PermanentError and a call that does not fit end the task at its first attempt."""
    (error,) = outcome(works, body)["errors"]

    assert (error["type"], error["final"]) == (type_, True)


def test_retry_later_waits_for_its_delay(works: Works) -> None:
    """The handler's delay replaces the back-off, and counts as an attempt."""
    body = """
from pgflow_yaml import RetryLater
def go(x): raise RetryLater(3600)
"""
    snapshot = outcome(works, body)

    (error,) = snapshot["errors"]
    assert (error["type"], error["final"]) == ("RetryLater", False)
    assert snapshot["steps"][0]["status"] == "started"
    assert snapshot["steps"][0]["retry_at"] > snapshot["now"]


def test_an_async_function_behind_a_plain_one_is_explained(works: Works) -> None:
    """A coroutine is not an output; the message names the fix."""
    snapshot = outcome(works, "async def inner(x): return x\ndef go(x): return inner(x)\n")

    (error,) = snapshot["errors"]
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

    ended = works.ended(run.id)
    assert ended.output == {"here": 1, "there": 2}
    assert [step.attempts for step in ended.steps] == [1, 1]


def test_a_forged_handler_is_never_imported(works: Works, db: psycopg.Connection) -> None:
    """No data of the database makes a handler (S-8)."""
    works.app.write("shop.py", "def go(x): return 1\n")
    works.deploy("flow: forged\nsteps:\n  go: {handler: shop.go}\n")
    db.execute("update pgflow.steps set handler = 'os.getpid'")
    run = works.client.start("forged")

    works.drain()

    assert works.client.get(run.id).status == "started"
    assert works.client.get(run.id).steps[0].output is None


def test_many_threads_share_the_work(works: Works) -> None:
    """Exactly `concurrency` handlers run at once."""
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
    (density,) = works.client.run_densities(run.id).values()
    assert len(density["running"]) == 100


def test_a_large_output_is_warned_of(works: Works, caplog: pytest.LogCaptureFixture) -> None:
    """Above 256 KB there is a warning, and the task completes (R-9)."""
    snapshot = outcome(works, "def go(x): return 'x' * 300_000")

    assert snapshot["run"]["status"] == "completed"
    (warning,) = [record for record in caplog.records if record.__dict__.get("action") == "large"]
    assert warning.__dict__["step"] == "go"


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
    others = set(threading.enumerate())  # an earlier test's handler may still hang

    thread = threading.Thread(target=worker.run)
    thread.start()
    while thread.is_alive():
        ours = [t for t in threading.enumerate() if t not in others]
        most = max(most, sum(t.name == "pgflow-handler" for t in ours))
        thread.join(0.005)

    assert works.client.get(run.id).output == {"go": list(range(2000))}
    assert 1 <= most <= 3
