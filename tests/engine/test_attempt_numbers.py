"""Two numbers of a call: the fence, which only grows, and the attempt that people count."""

from __future__ import annotations

from tests.engine.driver import Engine, a_step, failed


def test_a_reply_tells_the_fence_from_the_attempt(engine: Engine) -> None:
    """Releases and takeovers raise the fence; `uncounted` is what the attempt is less by."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow")
    (first,) = engine.claim("flow")
    engine.report(failed(first, "released"))
    (second,) = engine.claim("flow", lease="-1 s")
    (third,) = Engine(engine.db).claim("flow", lease="-1 s")

    (fourth,) = engine.claim("flow", lease="-1 s")
    engine.report(failed(fourth))

    assert "uncounted" not in first
    tasks = (second, third, fourth)
    assert [(task["attempt"], task["uncounted"]) for task in tasks] == [(2, 1), (3, 2), (4, 3)]
    snapshot = engine.snapshot(run)
    assert [error["attempt"] for error in snapshot["errors"]] == [1]
    assert snapshot["steps"][0]["error"]["attempts"] == snapshot["steps"][0]["attempts"] == 1
