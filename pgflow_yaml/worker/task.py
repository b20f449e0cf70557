"""Tasks as a turn hands them out, the call that each step makes, and the outcome of an attempt."""

from __future__ import annotations

import json
import marshal
import math
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from pgflow_yaml.worker.calls import by_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.approval_links import Approval
    from pgflow_yaml.worker.calls import Handler

    Span: TypeAlias = Callable[["Task"], AbstractContextManager[Callable[["Outcome"], "Outcome"]]]

Key = tuple[str, str, int]


class Cuttable(Protocol):
    """The transaction of a handler that runs."""

    def cut(self) -> None:
        """Cut its connection, from another thread."""


class StepCall:
    """The call that all tasks of a step of a flow version share."""

    __slots__ = (
        "begin_seconds",
        "by_name",
        "handler",
        "has_deps",
        "is_map",
        "key",
        "own_paths",
        "resources",
        "seconds",
        "secrets",
        "supply_seconds",
        "timeout",
        "with_",
    )

    def __init__(self, spec: dict[str, Any]) -> None:
        self.handler: str = spec["handler"]
        if not isinstance(self.handler, str):  # no worker has it: it would go round for ever
            raise TypeError(f"its handler is {self.handler!r}, not a text")
        self.with_: Json = spec.get("with")
        self.by_name = by_name(self.with_)
        self.resources: dict[str, float] = spec.get("resources") or {}
        self.key: str = spec.get("key", self.handler)
        """The handler and its needs, as a worker refuses them."""
        self.is_map = bool(spec.get("map"))
        self.has_deps = bool(spec.get("deps"))
        self.timeout = spec["timeout_ms"] / 1000
        begin_ms = spec.get("begin_ms")
        self.begin_seconds = None if begin_ms is None else begin_ms / 1000
        paths = _own_paths(self.with_)
        self.secrets = sorted(path for path in paths if path.startswith("secrets."))
        self.own_paths = sorted(paths.difference(self.secrets))
        self.seconds: float | None = None  # a moving average of its handler's time
        self.supply_seconds: float | None = None  # the time by which its supply is measured

    def observe(self, seconds: float) -> None:
        """Learn from the duration of one call."""
        mean = self.seconds
        self.seconds = seconds if mean is None else mean + (seconds - mean) * 0.1

    def observe_many(self, mean: float, count: int) -> None:
        """Learn from the mean duration of many calls: slower ones at once, faster ones gradually.

        A single call says little: its thread may have waited for the others.
        """
        previous = self.supply_seconds
        if previous is None or mean > previous:
            self.supply_seconds = mean
        else:
            self.supply_seconds = previous + (mean - previous) * min(1.0, 0.2 + count / 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Functions that fetch the data of a task that a reply does not hold, or surround its call."""

    run_input: Callable[[str], Json]
    secret: Callable[[str], str]
    span: Span | None = None
    approval_link: Callable[[Approval], str] | None = None
    """Makes the link to an approval; None without a web view."""


class RunContext:
    """The data that the tasks of one step of one run share in a reply."""

    __slots__ = (
        "approval_link",
        "args",
        "env",
        "flow",
        "retries",
        "run_input",
        "scheduled_at",
        "secret",
        "span",
        "trace",
        "uses",
    )

    def __init__(
        self,
        context: dict[str, Any],
        *,
        run_input: Callable[[], Json],
        secret: Callable[[str], str],
        span: Span | None = None,
        approval_link: Callable[[Approval], str] | None = None,
    ) -> None:
        self.approval_link = approval_link
        self.args: Json = context.get("args")
        self.env: dict[str, Json] = context.get("env") or {}
        run = context.get("run") or {}
        self.flow: str = run.get("flow", "")
        self.retries: int = run.get("retries", 0)
        self.scheduled_at: str | None = run.get("scheduled_at")
        self.trace: str | None = context.get("trace")
        self.span = span if self.trace else None
        self.run_input = run_input
        self.secret = secret
        self.uses = 0


class Outcome:
    """The outcome of an attempt."""

    __slots__ = ("delay_ms", "elapsed", "error", "kind", "output", "verdict")

    def __init__(
        self,
        kind: str,
        *,
        output: str = "null",
        error: dict[str, Json] | None = None,
        delay_ms: int | None = None,
        began: float | None = None,
    ) -> None:
        """`kind` is an outcome as `turn` takes it."""
        self.kind = kind
        self.output = output
        self.error = error
        self.delay_ms = delay_ms
        self.verdict: str | None = None
        """The verdict of the database, if the outcome has been settled already."""
        self.elapsed = 0.0 if began is None else time.monotonic() - began


def timed_out(task: Task, reason: str = "the handler did not return") -> Outcome:
    """Return the outcome of a task whose time is up."""
    message = f"{reason} within {task.call.timeout:g} s"
    error: dict[str, Json] = {"type": "Timeout", "message": message}
    return Outcome("failed", error=error, began=task.started or None)


RELEASED = Outcome("released")
NOT_BEGUN = Outcome(
    "released", error={"type": "NotBegun", "message": "it was not begun soon after its claim"}
)
"""A task of a step with a rate, whose start would be counted too early."""


class Task:
    """One attempt in this process, from its claim to its verdict."""

    __slots__ = (
        "attempt",
        "begin_by",
        "call",
        "cancelled",
        "context",
        "deadline",
        "fence",
        "handler",
        "imported",
        "index",
        "item",
        "iteration",
        "outcome",
        "received",
        "refused",
        "run_id",
        "settling",
        "started",
        "step",
        "told",
        "transaction",
    )

    def __init__(self, row: dict[str, Any], call: StepCall, context: RunContext) -> None:
        self.run_id: str = row["run"]
        self.step: str = row["step"]
        self.index: int = row["index"]
        self.fence: int = row["attempt"]
        self.attempt: int = self.fence - row.get("uncounted", 0)
        self.iteration: int = row.get("iteration", 0)
        self.item: Json = row.get("item")
        self.call = call
        self.context = context
        self.received = time.monotonic()
        self.started = self.deadline = self.told = 0.0
        self.begin_by = math.inf
        self.cancelled = False
        self.handler: Handler | None = None  # once an executor has looked it up
        self.imported = False  # its handler is known, here or in another process
        self.outcome: Outcome | None = None
        self.settling = False  # its own transaction has settled it and commits
        self.refused: str | None = None
        self.transaction: Cuttable | None = None

    @property
    def key(self) -> Key:
        """The identity of the task, the same for all its attempts."""
        return (self.run_id, self.step, self.index)

    @property
    def has_ended(self) -> bool:
        """True if its handler has ended: its result waits, or commits just now."""
        return self.settling or self.outcome is not None

    @property
    def trace_id(self) -> str | None:
        """The id of the trace that its run belongs to."""
        trace = self.context.trace
        return None if trace is None else trace.split("-")[1]

    @property
    def retries(self) -> int:
        """The number of retries of its run."""
        return self.context.retries

    @property
    def scheduled_at(self) -> datetime | None:
        """The tick of the schedule that started its run."""
        text = self.context.scheduled_at
        return None if text is None else datetime.fromisoformat(text)

    def begin(self) -> None:
        """Set the start and the deadline of the call; time spent in the queue does not count."""
        self.started = time.monotonic()
        self.deadline = self.started + self.call.timeout

    def wait(self) -> None:
        """Stop the call's clock again: another executor will begin it."""
        self.started = self.deadline = 0.0

    def arguments(self, secrets: list[str] | None = None) -> Json:
        """Return the argument of the handler; raise ExpressionError if `with` has no value.

        The values of the secrets in it are added to `secrets`.
        """
        call, context = self.call, self.context
        if call.with_ is not None:
            value = self._evaluated(secrets)
        elif call.is_map:
            return self.item
        else:
            value = context.args if call.has_deps else context.run_input()
        # Each task gets a copy of shared data: handlers may change their arguments.
        if context.uses > 1 and _may_be_shared(value, fresh=call.by_name):
            value = marshal.loads(marshal.dumps(value))  # noqa: S302 (made here, read here)
        return value

    def _evaluated(self, secrets: list[str] | None) -> Json:
        from pgflow_yaml.language.expressions import (
            ExpressionError,
            evaluate,
            misused_secrets,
            secret_message,
        )

        call, env = self.call, self.context.env
        if call.own_paths:
            env = {**env, **{path: self._look_up(path) for path in call.own_paths}}
        if call.secrets:  # S-11: at call time, for this call alone
            for path in sorted(misused_secrets(call.with_)):
                raise ExpressionError(secret_message(path))
            look_up = self.context.secret
            values = {path: look_up(path.partition(".")[2]) for path in call.secrets}
            env = {**env, **values}
            if secrets is not None:
                secrets += values.values()
        # The timeout is the handler's: an expression ends by its own limits, within a second, and a
        # thread that was given up meanwhile would count as deaf.
        began, deadline = time.monotonic(), self.deadline
        self.deadline = math.inf
        try:
            return evaluate(call.with_, env)
        finally:
            self.deadline = deadline and deadline + time.monotonic() - began

    def _look_up(self, path: str) -> Json:
        root, *keys = path.split(".")
        value: Json = self.item if root == "item" else self.index
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def cut(self) -> None:
        """Cut the connection of the handler's transaction, so that it cannot commit."""
        transaction = self.transaction
        if transaction is not None:
            transaction.cut()

    def report(self, outcome: Outcome | None = None) -> str:
        """Return the JSON text of the result, as `turn` takes it."""
        outcome = outcome or self.outcome
        assert outcome is not None
        if outcome.kind == "completed":
            return (
                f'{{"run":"{self.run_id}","step":"{self.step}","index":{self.index},'
                f'"attempt":{self.fence},"outcome":"completed","output":{outcome.output}}}'
            )
        failure = {"outcome": outcome.kind, "error": outcome.error, "delay_ms": outcome.delay_ms}
        return json.dumps({**self.reference(), **failure})

    def reference(self) -> dict[str, Json]:
        """Return the identity of the attempt."""
        return {
            "run": self.run_id,
            "step": self.step,
            "index": self.index,
            "attempt": self.fence,
        }

    def lease(self) -> dict[str, Json]:
        """Return the attempt as `heartbeat` takes it: the timeout counts while its handler runs."""
        reference = self.reference()
        if self.has_ended:
            return {**reference, "ended": True}
        started = self.started
        if not started:
            return {**reference, "waits": True}
        return {**reference, "ran_ms": round((time.monotonic() - started) * 1000)}

    def label(self) -> str:
        """Return the step, with the index of the item of a map: `fetch[3]`."""
        return f"{self.step}[{self.index}]" if self.call.is_map else self.step

    def fields(self, action: str) -> dict[str, object]:
        """Return the extra fields of a log record."""
        fields: dict[str, object] = {
            "run_id": self.run_id,
            "step": self.step,
            "index": self.index,
            "attempt": self.attempt,
            "action": action,
        }
        if self.trace_id is not None:
            fields["trace_id"] = self.trace_id
        return fields


def _own_paths(ast: Json) -> set[str]:
    """Return the paths of an expression that differ from task to task."""
    if not isinstance(ast, list) or not ast or ast[0] == "lit":
        return set()
    if ast[0] == "path":
        path = str(ast[1])
        return {path} if path.partition(".")[0] in ("item", "index", "secrets") else set()
    return set[str]().union(*map(_own_paths, ast[1:]))


def _may_be_shared(value: Json, *, fresh: bool) -> bool:
    """Return True if a handler could change another's argument; `fresh`: the outer dict is new."""
    if fresh and isinstance(value, dict):
        return any(isinstance(inner, dict | list) for inner in value.values())
    return isinstance(value, dict | list)
