"""The first words with a node: its versions must fit ours (X-4), and whether it has a handler."""

from __future__ import annotations

import sys
from concurrent.futures import TimeoutError as FutureTimeoutError
from importlib.metadata import version
from queue import Empty
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pgflow_yaml.errors import Unavailable
from pgflow_yaml.worker.calls import HandlerUnavailable
from pgflow_yaml.worker.engines.engine import EngineAway
from pgflow_yaml.worker.engines.envelope import hello_text, replies

if TYPE_CHECKING:
    from concurrent.futures import Future
    from queue import SimpleQueue

    from pgflow_yaml.worker.engines.engine import Engine

ANSWER_SECONDS = 60.0


def welcome(engine: Engine) -> None:
    """Ask one node for its versions.

    Raise Unavailable if it cannot run our handlers, EngineAway if it does not answer.
    """
    about = _answer(engine, engine.submit(hello_text(), question_key(), {}))
    if "python" not in about:
        raise Unavailable(
            f"--executor {engine.name}: {about['reason']}; "
            f"install pgflow-yaml {version('pgflow-yaml')} there"
        )
    ours, theirs = sys.version.split()[0], about["python"]
    if _minor(ours) != _minor(theirs):
        raise Unavailable(
            f"{engine.name} runs Python {theirs} on {about['node']}, this worker {ours}: "
            "start both with the same minor version"
        )
    ours, theirs = version("pgflow-yaml"), about["release"]
    if ours.partition(".")[0] != theirs.partition(".")[0]:
        raise Unavailable(
            f"{engine.name} has pgflow-yaml {theirs} on {about['node']}, this worker {ours}: "
            "install the same major version"
        )


def question_key() -> str:
    """Return a name for a call that is a question."""
    return f"pgflow-question-{uuid4()}"


def take_answer(engine: Engine, path: str, asked: SimpleQueue[Future[str]]) -> None:
    """Wait for the answer to `check_text`; raise HandlerUnavailable if it is no, or does not come.

    `asked` holds the call once it has been submitted.
    """
    try:
        answer = _answer(engine, asked.get(timeout=ANSWER_SECONDS))
    except Empty:
        raise HandlerUnavailable(path, f"{engine.name} is away") from None
    except (EngineAway, Unavailable) as error:
        raise HandlerUnavailable(path, error.message) from error
    if answer["kind"] != "available":
        raise HandlerUnavailable(path, answer["reason"])


def _answer(engine: Engine, future: Future[str]) -> dict[str, Any]:
    try:
        return replies(future.result(ANSWER_SECONDS))[0]
    except FutureTimeoutError:
        raise EngineAway(f"no node answered within {ANSWER_SECONDS:g} s") from None
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{engine.name} cannot import {error.name}: "
            f"install pgflow-yaml {version('pgflow-yaml')} there"
        ) from error
    except Exception as error:
        loss = engine.explain(error)
        if loss.kind == "away":
            raise EngineAway(loss.message) from error
        raise Unavailable(f"{engine.name} cannot run handlers: {loss.message}") from error


def _minor(release: str) -> list[str]:
    return release.split(".")[:2]
