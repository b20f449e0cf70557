"""The context of an attempt, for handlers with a parameter named `ctx`."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language.listening import WAITING
from pgflow_yaml.runs.approval_links import WEEK, Approval
from pgflow_yaml.worker.calls.masks import MaskingFilter, masks

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import TypeAlias

    from pgflow_yaml.language.model import Json

    ApprovalLink: TypeAlias = Callable[[Approval], str]

_handler_log = logging.getLogger("pgflow_yaml.handler")
_handler_log.addFilter(MaskingFilter())
_handler_log.setLevel(logging.INFO)  # for the log of the run, whatever is shown here


class Attempt(Protocol):
    """A running task as the worker knows it; its fence may grow meanwhile."""

    run_id: str
    step: str
    index: int
    attempt: int
    fence: int
    iteration: int
    cancelled: bool

    @property
    def retries(self) -> int:
        """The number of retries of its run."""

    @property
    def scheduled_at(self) -> datetime | None:
        """The tick of the schedule that started its run."""

    @property
    def trace_id(self) -> str | None:
        """The id of the trace of its run."""


class Context:
    """The attempt that a handler is called for."""

    __slots__ = ("_attempt", "_beat", "_link", "_report", "_run_input", "deadline", "log")

    def __init__(
        self,
        attempt: Attempt,
        *,
        run_input: Callable[[], Json],
        beat: Callable[[], None],
        timeout: float,
        report: Callable[[float, str], None] = lambda _done, _text: None,
        link: ApprovalLink | None = None,
    ) -> None:
        self._attempt = attempt
        self._link = link
        self._report = report
        self._run_input = run_input
        self._beat = beat
        self.deadline = datetime.now(UTC) + timedelta(seconds=timeout)
        """The time at which this attempt times out, by the clock of this machine."""
        self.log: logging.LoggerAdapter[logging.Logger] = _Log(_handler_log, _fields(attempt))
        """A logger whose lines carry run_id, step, index, attempt, and trace_id if it is traced."""

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._attempt.run_id

    @property
    def scheduled_at(self) -> datetime | None:
        """The tick of the schedule that started the run, in UTC; None if no schedule did."""
        return self._attempt.scheduled_at

    @property
    def step(self) -> str:
        """The name of the step."""
        return self._attempt.step

    @property
    def index(self) -> int:
        """The index of the task in its step; 0 if there is only one."""
        return self._attempt.index

    @property
    def attempt(self) -> int:
        """The number of this attempt, as `show` and `retry.if` count: the first call is 1.

        Calls that use up no attempt are not counted: those that a worker gave back, those that
        ended with their worker, and the former rounds of a `repeat`.
        """
        return self._attempt.attempt

    @property
    def fence(self) -> int:
        """A number that grows with each call of a task, however the last one ended.

        Store it with an effect, and refuse those of a lower number: they come from a worker that
        was believed dead.
        """
        return self._attempt.fence

    @property
    def iteration(self) -> int:
        """The iteration of a step with `repeat`; the first is 0."""
        return self._attempt.iteration

    @property
    def idempotency_key(self) -> str:
        """A key that all attempts of a task share, unique to its task and iteration."""
        return f"{self.run_id}/{self.step}/{self.index}/{self.iteration}"

    @property
    def run_input(self) -> Json:
        """The input that the run was started with."""
        return self._run_input()

    @property
    def cancelled(self) -> bool:
        """True if the result is no longer wanted: run ended, time is up, or lease lost."""
        return self._attempt.cancelled

    def progress(self, done: float, text: str = "") -> None:
        """Show how far this attempt has come: a number from 0 to 1, and a few words.

        Call it as often as you like; at most one report a second is stored.
        """
        share = float(done)
        if math.isnan(share):
            raise ValueError("progress is a number from 0 to 1, not NaN")
        self._report(min(max(share, 0.0), 1.0), str(text))

    def approval_url(
        self, step: str | None = None, *, by: str | None = None, valid: float = WEEK
    ) -> str:
        """Return a link with which its reader decides a step of this run that waits, or will.

        In a run that a wait has started (`after: {status: waiting}`), leave out the step: the link
        is to that wait. It is valid for so many seconds, until the step is decided or the run is
        retried. `by` is the person for whom it is, if the step names who decides. Whoever has the
        link may decide, so logs and outputs show `***` in its place.
        """
        if self._link is None:
            raise WrongSetting(
                "a link to an approval needs the address of the web view: set ui-url in "
                "[tool.pgflow-yaml], or PGFLOW_YAML_UI_URL, for the worker"
            )
        run, retries = self.run_id, self._attempt.retries
        if step is None:
            told = self.run_input
            if not isinstance(told, dict) or told.get("status") != WAITING:
                raise ValueError("name the step: this run was not started by a wait")
            run, step, retries = str(told["run"]), str(told["step"]), int(str(told["retries"]))
        expires = datetime.now(UTC) + timedelta(seconds=valid)
        url = self._link(Approval(run=run, step=step, retries=retries, expires=expires, by=by))
        masks.add_link(url.rpartition("/")[2])
        return url

    def heartbeat(self) -> bool:
        """Extend the lease now; return False if the result is no longer wanted."""
        self._beat()
        return not self.cancelled


class _Log(logging.LoggerAdapter[logging.Logger]):
    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def _fields(attempt: Attempt) -> dict[str, object]:
    fields: dict[str, object] = {
        "run_id": attempt.run_id,
        "step": attempt.step,
        "index": attempt.index,
        "attempt": attempt.attempt,
        "action": "handler",
    }
    if attempt.trace_id is not None:
        fields["trace_id"] = attempt.trace_id
    return fields
