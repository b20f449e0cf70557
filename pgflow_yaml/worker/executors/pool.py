"""The executors of a worker and the tasks that run in them.

A task changes hands without a lock: one `dict.pop` of the running tasks decides who reports its
outcome, the executor that ran its handler or the thread that gave it up before.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

from pgflow_yaml.language.resources import lacking, phrase
from pgflow_yaml.worker.executors.results import Results
from pgflow_yaml.worker.pace import LEAST_PATIENCE, MOST_PATIENCE
from pgflow_yaml.worker.resources import Gate
from pgflow_yaml.worker.task import RELEASED, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Handler, Handlers
    from pgflow_yaml.worker.executors.executor import Executor
    from pgflow_yaml.worker.logs import Logs
    from pgflow_yaml.worker.task import Outcome, StepCall, Task
    from pgflow_yaml.worker.transactions import Transactions
    from pgflow_yaml.worker.upkeep import Duty

    ExecutorFactory: TypeAlias = Callable[["Pool"], Executor]


log = logging.getLogger(__name__)

_LEAST_SECONDS = 1e-6
DEAF_SECONDS = 2.0  # a handler that looks at `ctx.cancelled` now and then ends within it


class Pool:
    """Run up to `size` tasks at once in each executor; results come back in lists.

    The executors are asked in their order whether they take a handler. The last one is the default:
    it gets every task first, finds the handler, and passes it on if another one takes it.
    """

    def __init__(
        self,
        size: int,
        handlers: Handlers,
        executors: Sequence[ExecutorFactory],
        *,
        beat: Callable[[], None],
        logs: Logs | None = None,
        transactions: Transactions | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        """`resources` are those that this machine offers, beside `cpus`: as many as `size`."""
        self.size = size
        self._offer = {"cpus": size, **(resources or {})}
        self._gate = Gate(self._offer)
        self.beat = beat
        self.logs = logs
        self.transactions = transactions
        self.running: dict[Task, Executor] = {}
        """The tasks that have a slot."""
        self.slotless: dict[Task, Executor] = {}
        """The tasks whose handlers were told to stop and go on: others use their slots."""
        self._abandoned: dict[Task, float] = {}  # and when their time was up
        self.has_changed = False
        """True once an executor has other slots than the worker was registered with."""
        self.patience = LEAST_PATIENCE
        """The seconds that a task may wait for a slot while slots free."""
        self.handlers = handlers
        self._routes: dict[Handler, Executor] = {}
        self._executors = [executor(self) for executor in executors]
        self._default = self._executors[-1]
        self.results = Results(lambda: self._default.queued() > 0)

    # Used by the worker's own threads

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks; those that need resources wait until they are free."""
        if any(task.call.resources for task in tasks):
            tasks = [task for task in tasks if not self._refuses(task)]
            if self._default.offer() is None:
                tasks = self._gate.admit(tasks)
        if tasks:
            self._default.submit(tasks)

    def _refuses(self, task: Task) -> bool:
        """Give back a task that needs more than this worker ever has."""
        missing = lacking(task.call.resources, self.offer())
        if missing:
            task.refused = f"this worker does not offer {phrase(missing)}"
            self.hand_in(task, RELEASED)
        return bool(missing)

    def offer(self) -> Mapping[str, float]:
        """Return the most of each resource that one task can have."""
        offer = self._default.offer()
        return self._offer if offer is None else offer

    def open(self) -> None:
        """Connect the executors; raise PgflowError if handlers cannot run there."""
        for executor in self._executors:
            executor.open()

    def slots(self) -> int:
        """Return the number of handlers that can run at once now."""
        return self._default.slots()

    def facts(self) -> dict[str, Json]:
        """Return what the list of workers says about where handlers run."""
        offer: dict[str, Json] = {**self.offer()}
        return {"concurrency": self.slots(), "resources": offer, **self._default.facts()}

    def duties(self, queues: Sequence[str] | None) -> list[Duty]:
        """Return the regular work of the executors in the database."""
        return [duty for executor in self._executors for duty in executor.duties(queues)]

    def queued(self) -> int:
        """Return the number of tasks whose handler has not begun."""
        return len(self._gate) + sum(executor.queued() for executor in self._executors)

    def learn(self, ended: Iterable[Task]) -> None:
        """Learn how long the tasks of a step last from those that have ended."""
        elapsed: dict[StepCall, list[float]] = {}
        for task in ended:
            if task.outcome and task.outcome.elapsed:  # released tasks took no time
                elapsed.setdefault(task.call, []).append(task.outcome.elapsed)
        for call, seconds in elapsed.items():
            call.observe_many(max(sum(seconds) / len(seconds), _LEAST_SECONDS), len(seconds))

    def rate(self, ended: Sequence[Task]) -> float:
        """Return the number of tasks that the slots will finish in a second, as far as is known.

        A slot finishes what it runs, which lasts as long as the tasks of its step do, and longer if
        no slot has freed for longer; a free one will run what the tasks that have `ended` were.
        """
        slots = self.slots()
        running = list(self.running)[:slots]
        free = slots - len(running)
        busy = _LEAST_SECONDS if free or not running else _seconds_of(running[-1])
        times = [task.call.supply_seconds for task in running]
        rate = sum(1 / max(seconds, busy) for seconds in times if seconds is not None)
        if free and ended:
            times = [task.call.supply_seconds for task in ended]
            known = [seconds for seconds in times if seconds is not None]
            rate += free * len(known) / sum(known) if known else 0
        return rate

    def return_waiting(self, held: Iterable[Task]) -> None:
        """Give back those of the tasks in this worker that others could have begun by now.

        A task waits for 250 ms if no slot has freed in this time, a little longer while slots do,
        and for seconds if there is a free slot, but no sign of life (a blocked event loop).
        """
        if not self.queued():
            return
        now = time.monotonic()
        running = list(self.running)
        if len(running) < self.slots():
            patience = MOST_PATIENCE
        elif running and _seconds_of(running[-1]) > LEAST_PATIENCE:
            patience = LEAST_PATIENCE
        else:
            patience = self.patience
        late = now - patience
        self.release(
            sum(
                not task.started
                and task.outcome is None
                and task.received < late
                and task not in self.running
                for task in held
            )
        )

    def release(self, count: int) -> None:
        """Give back up to `count` tasks whose handler has not begun."""
        waiting = self._gate.withdraw(count)
        for task in waiting:
            self.hand_in(task, RELEASED)
        count -= len(waiting)
        for executor in reversed(self._executors):
            tasks = executor.withdraw(count)
            for task in tasks:
                self.hand_in(task, RELEASED)
            count -= len(tasks)

    def cancel(self, task: Task) -> None:
        """Cancel a task, and its handler if it runs."""
        task.cancelled = True
        task.told = time.monotonic()
        task.cut()
        executor = self.running.get(task)
        if executor is not None:
            executor.cancel(task)

    def watch(self, lease: float) -> None:
        """Give up handlers whose time is up; take the slots of those that were told and go on.

        One that was told a lease ago is given up too: a run that is ending waits no longer (§4.3).
        """
        now = time.monotonic()
        for task in [*self.running, *self.slotless]:
            if 0 < task.deadline < now:
                log.warning("attempt timed out", extra=task.fields("timeout"))
                self.expire(task)
            elif 0 < task.told < now - lease:
                self.give_up(task, RELEASED)
            elif 0 < task.told < now - DEAF_SECONDS:
                self._take_slot(task)

    def _take_slot(self, task: Task) -> None:
        # Beyond this number a handler keeps its slot: no row of cancels fills a process.
        if task in self.slotless or len(self.slotless) + len(self._abandoned) >= self.size:
            return
        executor = self.running.get(task)
        if executor is None:
            return
        self.slotless[task] = executor  # before it is let go, as in `give_up`
        if self.running.pop(task, None) is None:
            self.slotless.pop(task, None)
            return
        executor.free(task)

    def expire(self, task: Task) -> None:
        """Give up a handler whose time is up, and report the timeout (§4.3)."""
        reason = "the handler did not return" if task.imported else "its module was not imported"
        self.give_up(task, timed_out(task, reason))

    def give_up(self, task: Task, outcome: Outcome) -> None:
        """Report an outcome for a handler that still runs; its own result will be dropped."""
        # Before it is let go: its handler may end at this moment, and takes itself out again.
        self._abandoned[task] = math.inf if outcome is RELEASED else time.monotonic()
        executor, free = self.running.pop(task, None), True
        if executor is None:
            executor, free = self.slotless.pop(task, None), False
        if executor is None:
            self._abandoned.pop(task, None)
            return
        if not task.cancelled:
            task.cancelled = True
            task.cut()
            executor.cancel(task)
        if free:
            executor.free(task)
        self.hand_in(task, outcome)

    @property
    def abandoned(self) -> int:
        """The number of handlers that were given up and have not ended yet."""
        return len(self._abandoned)

    def deaf_steps(self) -> list[str]:
        """Return the steps whose handlers ignore their timeout, if these are too many.

        Too many are as many as there are slots, when each has had a moment to end, and more than
        that without one. The first step is that of the last handler.
        """
        if len(self._abandoned) < self.size:
            return []
        expired = [task for task, since in self._abandoned.copy().items() if since < math.inf]
        late = time.monotonic() - DEAF_SECONDS
        deaf = sum(self._abandoned.get(task, math.inf) < late for task in expired)
        if len(expired) <= self.size and deaf < self.size:
            return []
        return list(dict.fromkeys(task.step for task in reversed(expired)))

    def check(self) -> None:
        """Let each executor repair what is stuck."""
        for executor in self._executors:
            executor.check()
        if self.transactions is not None:
            self.transactions.close_idle()

    def close(self) -> None:
        """End what is idle; threads that run a handler end after it."""
        for executor in reversed(self._executors):
            executor.close()
        if self.transactions is not None:
            self.transactions.close()

    # Used by the executors

    def begin(self, task: Task, executor: Executor) -> None:
        """Start the clock of a task, in the executor that runs it."""
        task.begin()
        self.running[task] = executor

    def hold(self, task: Task, executor: Executor) -> None:
        """Give a task a slot in an executor that cannot say yet when its handler begins."""
        self.running[task] = executor

    def let_go(self, task: Task) -> bool:
        """Take the slot of a task that its executor queues again; False if it was given up."""
        return self.running.pop(task, None) is not None

    def changed(self) -> None:
        """Let the worker say anew how many slots it has."""
        self.has_changed = True
        self.results.ring()

    def handler_of(self, task: Task) -> Handler:
        """Return the handler of a task; the first call may import its module."""
        if task.handler is None:
            task.handler = self.handlers.get(task.call.handler)
            task.imported = True
        return task.handler

    def executor_for(self, handler: Handler) -> Executor:
        """Return the executor that a handler must run in."""
        executor = self._routes.get(handler)
        if executor is None:
            takers = (executor for executor in self._executors if executor.takes(handler))
            executor = self._routes[handler] = next(takers, self._default)
        return executor

    def pass_on(self, task: Task, executor: Executor) -> bool:
        """Leave a running task to another executor; False if its slot was taken before."""
        if self.running.pop(task, None) is None:
            return self.finish(task, RELEASED)
        task.wait()
        executor.submit([task])
        return True

    def finish(self, task: Task, outcome: Outcome) -> bool:
        """Report the outcome of a running task; False if its slot was taken before."""
        has_slot = self.running.pop(task, None) is not None
        if has_slot or self.slotless.pop(task, None) is not None:
            self.hand_in(task, outcome)
        else:
            self._abandoned.pop(task, None)
        return has_slot

    def stopped(self, task: Task) -> None:
        """Count the handler of a task that was given up no longer: it cannot go on."""
        self._abandoned.pop(task, None)

    def hand_in(self, task: Task, outcome: Outcome) -> None:
        """Report the outcome of a task that does not run."""
        task.outcome = outcome
        if outcome.elapsed:
            task.call.observe(outcome.elapsed)
        if task.call.resources and (tasks := self._gate.give_back(task)):
            self._default.submit(tasks)
        self.results.add(task)


def _seconds_of(task: Task) -> float:
    """Return for how long a task has run; 0 if it only has a slot."""
    return time.monotonic() - task.started if task.started else 0.0
