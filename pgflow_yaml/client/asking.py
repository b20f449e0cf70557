"""The same question to several databases at once, with a limit for the answers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from pgflow_yaml.errors import NotFound, PgflowError, SchemaMismatch, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Answers(Generic[Answer]):
    """Answers by the name of their database, in the order of the names."""

    given: dict[str, Answer] = field(default_factory=dict)
    away: dict[str, PgflowError] = field(default_factory=dict)
    """Databases that do not answer, or that this release cannot use."""
    unknown: dict[str, NotFound] = field(default_factory=dict)
    """Databases that do not have the subject of the question."""


def ask_all(
    names: Sequence[str],
    ask: Callable[[str], Answer],
    *,
    seconds: float,
    enough: Callable[[Answer], bool] = lambda _: False,
) -> Answers[Answer]:
    """Call `ask` with each name, each in a thread; stop at an answer that is `enough`.

    A database without an answer after `seconds` counts as away. Raises the first error that says
    neither that a database is away nor that it does not have the subject.
    """
    replies: SimpleQueue[tuple[str, Answer | Exception]] = SimpleQueue()

    def work(name: str) -> None:
        try:
            replies.put((name, ask(name)))
        except Exception as error:  # noqa: BLE001 (raised again in the thread that asks)
            replies.put((name, error))

    for name in names:  # daemons: one that waits for a silent server must not keep a program alive
        threading.Thread(target=work, args=(name,), name=f"pgflow-ask-{name}", daemon=True).start()
    answers: Answers[Answer] = Answers()
    deadline = time.monotonic() + seconds
    for _ in names:
        try:
            name, reply = replies.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        if isinstance(reply, Unavailable | SchemaMismatch):
            answers.away[name] = reply
        elif isinstance(reply, NotFound):
            answers.unknown[name] = reply
        elif isinstance(reply, Exception):
            raise reply
        else:
            answers.given[name] = reply
            if enough(reply):
                return answers
    for name in names:
        if name not in answers.given | answers.away | answers.unknown:
            answers.away[name] = Unavailable(f"it did not answer within {seconds:g} s")
    answers.given = {name: answers.given[name] for name in names if name in answers.given}
    return answers
