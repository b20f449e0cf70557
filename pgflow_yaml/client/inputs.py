"""The inputs of runs: checked before the database sees them, and cut into batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pgflow_yaml.database.store import MOST_CHARACTERS
from pgflow_yaml.errors import InvalidInput
from pgflow_yaml.language.inputs import problems_of
from pgflow_yaml.language.numbers import whole_input
from pgflow_yaml.worker.calls.boundary import Unserialisable, to_json_text
from pgflow_yaml.worker.calls.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgflow_yaml.language.model import Json

BATCH = 1000
"""Maximum number of runs that start in one commit."""


def as_json(run_input: object) -> Json:
    """Return a run input as JSON: None is an empty object, any mapping is an object.

    What has no JSON form stays, and `input_text` refuses it.
    """
    if run_input is None:
        return {}
    value = plain(dict(run_input) if isinstance(run_input, Mapping) else run_input)
    return cast("Json", value)


def input_text(value: object) -> str:
    """Return the JSON text of a run input; raises InvalidInput if it has none."""
    try:
        return to_json_text(value)
    except Unserialisable as error:
        path = error.path.removeprefix("$").removeprefix(".")
        raise InvalidInput(problems=[{"path": path, "message": error.reason}]) from error


def checked_text(definition: Mapping[str, Any] | None, run_input: Json) -> str:
    """Return the JSON text of the input of a flow, with 1000 for 1000.0 in an integer field.

    Raise InvalidInput with every problem: the database checks only the top of each field.
    """
    text = input_text(run_input)
    if definition is None:
        return text
    problems = problems_of(definition, run_input)
    if problems:
        raise InvalidInput(problems=problems)
    return input_text(whole_input(definition, run_input))


def input_texts(inputs: Iterable[object], definition: Mapping[str, Any] | None) -> list[str]:
    """Return the JSON texts of many inputs; raises InvalidInput, which names the wrong one."""
    texts = []
    for number, value in enumerate(inputs):
        run_input = as_json(value)
        try:
            texts.append(checked_text(definition, run_input))
        except InvalidInput as error:
            raise InvalidInput(
                problems=[_of(number, problem) for problem in error.problems]
            ) from error
    return texts


def batches(texts: list[str]) -> Iterator[list[str]]:
    """Yield the texts in batches that fit into a statement; at least one batch."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) >= BATCH or size + len(text) > MOST_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    yield batch


def _of(number: int, problem: dict[str, str]) -> dict[str, str]:
    """Return the problem of one input among many."""
    path = problem["path"]
    inner = path if not path or path.startswith("[") else f".{path}"
    return {**problem, "path": f"[{number}]{inner}"}
