"""What a run of the model test is made of: steps as a file says them, their states and tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgflow_yaml.language.expressions import Expression


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a flow, as a file says it."""

    slug: str
    deps: dict[str, str] = field(default_factory=dict)
    items: Expression | None = None
    count: int | None = None
    condition: Expression | None = None
    when_unmet: str = "skip"
    when_exhausted: str = "fail"
    handles: bool = True
    max_attempts: int = 3
    base_delay: int = 1000
    timeout: int = 60_000
    start_delay: int = 0
    max_parallel: int = 1000
    fail_fast: bool = True
    tolerate: int | None = None
    percent: float | None = None
    is_final: bool = False
    breaks: bool = False
    event: str | None = None
    until: Expression | None = None
    every: int = 2000
    most_calls: int = 3

    @property
    def is_map(self) -> bool:
        """Whether its output is a list of its tasks' outputs."""
        return self.items is not None or self.count is not None

    @property
    def is_tolerant(self) -> bool:
        """A map that a failed item does not end."""
        return not self.fail_fast or self.tolerate is not None or self.percent is not None


@dataclass
class Task:
    """One task, and when its message is visible (none: not sent, or done with)."""

    item: Any = None
    status: str = "queued"
    attempts: int = 0
    uncounted: int = 0
    crashes: int = 0
    iteration: int = 0
    worker: str | None = None
    started: int = 0
    lease: int = 0
    visible: int | None = None
    lost: bool = False
    output: Any = None
    error: str | None = None

    def ends(self, status: str) -> None:
        """No attempt follows."""
        self.status, self.visible, self.lost = status, None, False


@dataclass
class State:
    """One step of a run."""

    step: Step
    status: str = "created"
    cut: bool = False
    reason: str | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    failed_at: int = 0
    tasks: list[Task] = field(default_factory=list)
    sent: int = 0
    due: int | None = None
    past: int = 0  # attempts of tasks that a retry has thrown away

    @property
    def outcome(self) -> str:
        """How it ended, as its dependents' edges see it."""
        return "cut" if self.cut else self.status

    def names(self) -> dict[str, Any]:
        """What expressions read of it."""
        names = {"output": self.output, "status": self.status, "error": self.error}
        return names | {"skip_reason": self.reason}

    def skips(self, reason: str, *, cut: bool) -> None:
        """It and what is left of its tasks are skipped; a cut spreads."""
        self.status, self.reason, self.cut = "skipped", reason, cut
        self.end_tasks("skipped")

    def fails(self, kind: str, now: int, attempts: int = 0) -> None:
        """It has failed for good; what is left of its tasks is stopped."""
        self.end_tasks("cancelled")
        self.status, self.failed_at = "failed", now
        self.error = {"type": kind, "attempts": attempts}

    def forget(self) -> None:
        """A retry begins it anew; the attempts of its tasks are counted on."""
        past = max([self.past, *(task.attempts for task in self.tasks)])
        vars(self).update(vars(State(self.step, past=past)))

    def resume(self) -> None:
        """A retry begins it again with its tasks; completed ones stay."""
        vars(self).update(vars(State(self.step, "started", past=self.past, tasks=self.tasks)))
        for task in self.tasks:
            if task.status != "completed":
                task.ends("queued")
                task.uncounted, task.crashes, task.iteration = task.attempts, 0, 0
                task.error = None

    def end_tasks(self, status: str) -> None:
        """What is live of its tasks ends with it."""
        for task in self.tasks:
            if task.status in ("queued", "started"):
                task.ends(status)
