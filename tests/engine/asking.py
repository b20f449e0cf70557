"""Flows that ask people for a decision, and decisions, for tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.engine.driver import a_step, a_wait

if TYPE_CHECKING:
    from tests.engine.driver import Engine

NOON = "2036-01-01 12:00:00Z"
FORM = {
    "amount": {"type": "integer", "minimum": 1},
    "size": {"enum": ["s", "l"], "default": "s"},
}
HOUR = 3_600_000


def ask(engine: Engine, name: str = "flow", *before: str, **wait: Any) -> None:
    """Deploy a flow that asks for a decision, and goes on with it."""
    steps = {slug: a_step() for slug in before}
    steps["ok"] = a_wait(*before, wait={"event": "approval"} | wait)
    engine.deploy(name, {**steps, "pay": a_step("ok")})


def decide(
    engine: Engine,
    run: str,
    data: object = None,
    *,
    by: str = "ann",
    groups: list[str] | None = None,
    reject: bool = False,
) -> dict[str, Any]:
    """Decide about the step `ok`."""
    text = None if data is None else json.dumps(data)
    function = "reject_step" if reject else "approve_step"
    reply: dict[str, Any] = engine.call(function, run, "ok", "fine", by, None, text, groups)
    return reply
