"""Readers for the parameters of a handler whose annotations name a type that JSON lacks."""

from __future__ import annotations

import inspect
import typing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pgflow_yaml.worker.calls.reading import is_everyday, reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pgflow_yaml.worker.calls.reading import Reader


def readers_of(
    function: Callable[..., Any], parameters: Iterable[inspect.Parameter]
) -> Mapping[str, Reader]:
    """Return the readers by parameter; other parameters get their JSON as it is."""
    names = _globals_of(function)
    readers = {}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = _resolved(parameter, names)
        if is_everyday(annotation):
            readers[parameter.name] = reader(annotation)
    return readers


def problem_of_tx(
    function: Callable[..., Any], parameter: inspect.Parameter, *, is_async: bool
) -> str:
    """Return why a parameter named `tx` cannot be given the transaction of its call, or nothing.

    One that is not keyword-only is an ordinary parameter, unless its annotation means a connection.
    """
    annotation = _resolved(parameter, _globals_of(function))
    from pgflow_yaml.database.store.transactions import kinds  # the driver loads slowly

    if parameter.kind is not parameter.KEYWORD_ONLY:
        if annotation in (None, Any, object) or not kinds(annotation):
            return ""
        return "`tx` is the transaction of a call only after a `*`: `def f(value, *, tx)`"
    kind, wanted = ("async def", "AsyncConnection") if is_async else ("def", "Connection")
    if annotation in (None, Any) or kind in kinds(annotation):
        return ""
    return f"`tx` of a handler written as `{kind}` is a `psycopg.{wanted}`"


def _resolved(parameter: inspect.Parameter, names: dict[str, Any]) -> Any:
    """Return an annotation, also of a module with `from __future__ import annotations`."""
    if parameter.name == "ctx" or parameter.annotation is parameter.empty:
        return None
    holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return typing.get_type_hints(holder, globalns=names)[parameter.name]
    except Exception:  # noqa: BLE001 (a name for type checkers alone: no type of this process)
        return None


def _globals_of(function: Any) -> dict[str, Any]:
    while (inner := getattr(function, "func", None)) is not None:  # partial
        function = inner
    if not inspect.isroutine(function) and not inspect.isclass(function):
        function = type(function).__call__
    return getattr(inspect.unwrap(function), "__globals__", {})
