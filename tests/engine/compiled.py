"""Flows written as files, compiled, deployed and worked on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.compiler import compile_flow
from tests.engine.driver import done, failed
from tests.unit.flows import check

if TYPE_CHECKING:
    from tests.engine.driver import Engine, Task


class Compiled:
    """One flow file in the engine; `app.broken` fails, every other handler returns its input."""

    def __init__(self, engine: Engine, text: str) -> None:
        self.engine = engine
        definition = compile_flow(check(text).require(), source=text)
        self.name, body = definition.name, json.dumps(definition.body)
        engine.call("deploy", body, definition.version, list(definition.order), text)
        self.ran: list[str] = []
        self.held: list[Task] = []

    def start(self, **run_input: Any) -> str:
        """Start a run."""
        return self.engine.start(self.name, run_input)

    def run(self, **run_input: Any) -> str:
        """Start a run and work until nothing can be done."""
        run = self.start(**run_input)
        self.work()
        return run

    def work(self, *, hold: str = "") -> None:
        """Work until nothing can be done; a task of the step `hold` is taken and not reported."""
        results: list[Task] = []
        while True:
            reply = self.engine.turn(*results, queue=self.name)
            assert set(reply["verdicts"]) <= {"applied"}
            if not reply["tasks"]:
                return
            self.ran += [task["step"] for task in reply["tasks"]]
            self.held += [task for task in reply["tasks"] if task["step"] == hold]
            results = [_result(reply, task) for task in reply["tasks"] if task["step"] != hold]

    def step(self, run: str, slug: str) -> dict[str, Any]:
        """One step of a run, as it is shown."""
        steps = {step["slug"]: step for step in self.engine.snapshot(run)["steps"]}
        shown: dict[str, Any] = steps[slug]
        return shown

    def shown(self, run: str) -> dict[str, Any]:
        """The run, as it is shown."""
        shown: dict[str, Any] = self.engine.snapshot(run)["run"]
        return shown


def _result(reply: dict[str, Any], task: Task) -> Task:
    spec = reply["specs"][f"{task['flow']}/{task['step']}"]
    context = reply["contexts"][f"{task['run']}/{task['step']}"]
    if spec["handler"] == "app.broken":
        return failed(task, error={"type": "Broken", "message": f"{task['step']} broke"})
    given = task.get("item") if spec["map"] else context.get("args", context["run_input"])
    return done(task, given)
