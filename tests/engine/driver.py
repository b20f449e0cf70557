"""A worker of the tests: calls the engine's SQL functions, on a clock that the test moves."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import psycopg

Task = dict[str, Any]
RETRY = {
    "max_attempts": 3,
    "base_delay": 1000,
    "max_delay": 3_600_000,
    "backoff": "exponential",
    "jitter": False,
}


def path(name: str) -> dict[str, Any]:
    """The expression that reads one path."""
    return {"ast": ["path", name], "paths": [name]}


def literal(value: object) -> dict[str, Any]:
    """The expression that is a value."""
    return {"ast": ["lit", value], "paths": []}


def a_step(*depends_on: str, **keys: Any) -> dict[str, Any]:
    """One step of a definition; `if_` and `with_` stand for Python's keywords."""
    step: dict[str, Any] = {
        "handler": "app.work",
        "depends_on": dict.fromkeys(depends_on, "success"),
        "when_unmet": "skip",
        "retry": RETRY | keys.pop("retry", {}),
        "timeout": 60_000,
        "start_delay": 0,
        "when_exhausted": "fail",
    }
    return step | {key.rstrip("_"): value for key, value in keys.items()}


class Engine:
    """One worker's view of the engine, on one connection."""

    def __init__(self, db: psycopg.Connection) -> None:
        self.db = db
        self.worker = str(uuid4())
        self.call("register_worker", self.worker, None, "{}")

    def call(self, function: str, *arguments: object) -> Any:
        """The result of `select pgflow.function(arguments)`."""
        places = ", ".join(["%s"] * len(arguments))
        return self.one(f"select pgflow.{function}({places})", *arguments)

    def one(self, query: str, *arguments: object) -> Any:
        """The first column of the first row."""
        row = self.db.execute(query.encode(), arguments).fetchone()
        return row[0] if row else None

    def now(self, text: str) -> None:
        """Set the clock of this session."""
        self.db.execute("select set_config('pgflow.fake_now', %s, false)", [text])

    def deploy(self, name: str, steps: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Store a definition; the version is the hash of its text, as the compiler's is."""
        more = {key.rstrip("_"): value for key, value in more.items()}
        body = json.dumps({"flow": name, "steps": steps} | more, sort_keys=True)
        version = sha256(body.encode()).hexdigest()[:12]
        reply: dict[str, Any] = self.call(
            "deploy", body, version, [*steps, *more.get("finally", {})], "source"
        )
        return reply

    def start(self, name: str, run_input: object = None, key: str | None = None) -> str:
        """Start a run; its id."""
        reply = self.call("start_run", name, json.dumps(run_input or {}), key)
        return str(reply["run_id"])

    def turn(self, *results: Task, queue: str, **options: Any) -> dict[str, Any]:
        """One turn: report, and claim up to `quantity` tasks."""
        reply: dict[str, Any] = self.call(
            "turn",
            self.worker,
            json.dumps(results),
            [queue],
            options.get("quantity", 100),
            options.get("lease", "30 s"),
            options.get("refused", []),
            json.dumps(options.get("options", {})),
        )
        return reply

    def claim(self, queue: str, **options: Any) -> list[Task]:
        """Claim only."""
        tasks: list[Task] = self.turn(queue=queue, **options)["tasks"]
        return tasks

    def report(self, *results: Task) -> list[str]:
        """Settle only; the verdicts."""
        verdicts: list[str] = self.turn(*results, queue="none", quantity=0)["verdicts"]
        return verdicts

    def work(
        self,
        queue: str,
        handler: Callable[[Task], Any] = lambda task: task["step"],
        *,
        broken: Collection[str] = (),
    ) -> list[str]:
        """Run all that can run now through the handler, or let it fail; the steps, in order."""
        ran, results = list[str](), list[Task]()
        while True:
            reply = self.turn(*results, queue=queue)
            assert set(reply["verdicts"]) <= {"applied"}
            if not reply["tasks"]:
                return ran
            ran += [task["step"] for task in reply["tasks"]]
            results = [
                failed(task, "fatal") if task["step"] in broken else done(task, handler(task))
                for task in reply["tasks"]
            ]

    def work_on(self, *queues: str) -> list[str]:
        """Work on these queues until nothing happens any more; `queue.step` of all that ran."""
        ran, idle = list[str](), 0
        while idle < 4:  # news between parents and children come at later turns
            idle += 1
            for queue in queues:
                found = self.work(queue)
                idle = 0 if found else idle
                ran += [f"{queue}.{step}" for step in found]
        return ran

    def heartbeat(self, *tasks: Task, lease: str = "30 s") -> dict[str, list[Task]]:
        """Say that these are being worked on; which are lost, and which must stop."""
        reply: dict[str, list[Task]] = self.call("heartbeat", self.worker, lease, named(*tasks))
        return reply

    def snapshot(self, run: str) -> dict[str, Any]:
        """The run as `show --json` prints it."""
        snapshot: dict[str, Any] = self.call("run_snapshot", run, True)
        return snapshot

    def statuses(self, run: str) -> dict[str, str]:
        """Each step's status."""
        return {step["slug"]: step["status"] for step in self.snapshot(run)["steps"]}

    def status(self, run: str) -> str:
        """The run's status."""
        return str(self.snapshot(run)["run"]["status"])

    def result(self, run: str) -> tuple[str, Any, str | None]:
        """The status, the output and the kind of error of a run."""
        shown = self.snapshot(run)["run"]
        return shown["status"], shown["output"], (shown["error"] or {}).get("type")

    def violations(self) -> list[Any]:
        """What breaks the invariants I1 to I8; empty when all is well."""
        rows = self.db.execute("select * from pgflow.violations()").fetchall()
        return rows + self.db.execute("select * from pgflow.queue_violations()").fetchall()


def _name(task: Task) -> Task:
    return {key: task[key] for key in ("run", "step", "index", "attempt")}


def named(*tasks: Task) -> str:
    """Tasks as a heartbeat names them."""
    return json.dumps([_name(task) for task in tasks])


def _result(task: Task, **more: Any) -> Task:
    return _name(task) | more


def done(task: Task, output: object = None) -> Task:
    """The report of a completed attempt."""
    return _result(task, outcome="completed", output=output)


def failed(task: Task, kind: str = "failed", **more: Any) -> Task:
    """The report of a failed attempt: failed, fatal, retry_later, released or crashed."""
    error = {"type": "Broken", "message": f"attempt {task['attempt']} broke"}
    return _result(task, outcome=kind, error=more.pop("error", error), **more)


def a_wait(*depends_on: str, **keys: Any) -> dict[str, Any]:
    """A step that waits: `wait={"event": …}` and what else it says."""
    step = {
        "depends_on": dict.fromkeys(depends_on, "success"),
        "when_unmet": "skip",
        "when_exhausted": "fail",
    }
    return step | {key.rstrip("_"): value for key, value in keys.items()}


def a_child(flow: str, *depends_on: str, **keys: Any) -> dict[str, Any]:
    """A step that runs a flow; one attempt and no timeout unless it says so."""
    retry = {"max_attempts": 1} | keys.pop("retry", {})
    step = a_step(*depends_on, retry=retry, **keys) | {"flow": flow}
    return {key: value for key, value in step.items() if key not in ("handler", "timeout")} | (
        {"timeout": keys["timeout"]} if "timeout" in keys else {}
    )
