"""What runs are started with: checked before the database sees it, and cut into statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.store import MOST_CHARACTERS
from pgflow_yaml.errors import InvalidInput
from pgflow_yaml.language.inputs import problems_of
from pgflow_yaml.worker.calls.boundary import Unserialisable, to_json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgflow_yaml.language.model import Json

BATCH = 1000
"""So many runs start in one commit at most."""


def as_json(given: Mapping[str, Json] | Json) -> Json:
    """A run input as JSON: none is an empty object, any mapping is one."""
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else given


def input_text(value: Json) -> str:
    """The JSON text of a run input; raises InvalidInput where it has none."""
    try:
        return to_json_text(value)
    except Unserialisable as error:
        path = error.path.removeprefix("$").removeprefix(".")
        raise InvalidInput(problems=[{"path": path, "message": error.reason}]) from error


def check_input(definition: Mapping[str, Any], given: Json) -> None:
    """Raise InvalidInput with every problem: the database checks only the top of each field."""
    problems = problems_of(definition, given)
    if problems:
        raise InvalidInput(problems=problems)


def input_texts(
    inputs: Iterable[Mapping[str, Json] | Json], definition: Mapping[str, Any] | None
) -> list[str]:
    """The JSON texts of many inputs; raises InvalidInput, which says which one is wrong."""
    texts = []
    for number, each in enumerate(inputs):
        given = as_json(each)
        try:
            texts.append(input_text(given))
            if definition is not None:
                check_input(definition, given)
        except InvalidInput as error:
            raise InvalidInput(problems=[_of(number, each) for each in error.problems]) from error
    return texts


def batches(texts: list[str]) -> Iterator[list[str]]:
    """The texts in order, as many at a time as one statement should carry; at least one batch."""
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
    """The problem of one input among many."""
    path = problem["path"]
    inner = path if not path or path.startswith("[") else f".{path}"
    return {**problem, "path": f"[{number}]{inner}"}
