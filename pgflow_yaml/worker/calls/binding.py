"""The call of a handler: by name if the step's `with` is a mapping, else with one value."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.suggestions import did_you_mean

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls.context import Context
    from pgflow_yaml.worker.calls.handler import Handler


_HINTS = {"tx": " (to get the transaction of the call, write it after a `*`)"}


def by_name(with_: Json) -> bool:
    """Return True if the arguments of this compiled `with` are keyword arguments."""
    return isinstance(with_, list) and with_[:1] == ["dict"]


def invoke(
    handler: Handler, value: Any, ctx: Context | None, *, named: bool, tx: object | None = None
) -> object:
    """Call a handler, with `ctx` and `tx` unless None; an async handler returns a coroutine.

    Raises InvalidArgument if a value does not fit the annotation of its parameter.
    """
    function = handler.function
    if tx is not None:
        if named and "tx" in value:
            raise TypeError(f"{handler.path}() got a value for `tx`, which is its transaction")
        function = partial(function, tx=tx)
    if handler.readers:
        value = _read(handler, value, named=named)
    if named:
        assert isinstance(value, dict)
        if ctx is None:
            return function(**value)
        return function(ctx, **value) if handler.ctx_first else function(**value, ctx=ctx)
    if not handler.takes_value:
        return function() if ctx is None else function(ctx=ctx)
    if ctx is None:
        return function(value)
    return function(ctx, value) if handler.ctx_first else function(value, ctx=ctx)


def _read(handler: Handler, value: Any, *, named: bool) -> Any:
    """Return the arguments as their annotations want them."""
    readers = handler.readers
    if named:
        return {
            name: readers[name](inner, name) if name in readers else inner
            for name, inner in value.items()
        }
    name = handler.first
    return readers[name](value, name) if name in readers else value


def signature_problems(handler: Handler, with_: Json = None) -> list[str]:
    """Return the mismatches between a handler and the `with` of its step, a sentence each."""
    try:
        signature = inspect.signature(handler.function)
    except (TypeError, ValueError):  # built in C, without a signature
        return []
    if handler.tx_problem:
        return [f"{handler.path}(): {handler.tx_problem}"]
    given = {"ctx", "tx"} if handler.takes_tx else {"ctx"}
    parameters = [p for p in signature.parameters.values() if p.name not in given]
    if by_name(with_):
        assert isinstance(with_, list)
        arguments = [str(name) for name in with_[1::2]]
        return _problems_by_name(handler.path, parameters, arguments, given)
    return _problems_of_one(handler.path, parameters, written=with_ is not None)


def _problems_by_name(
    path: str, parameters: list[inspect.Parameter], arguments: list[str], given: set[str]
) -> list[str]:
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    names = [
        p.name
        for p in parameters
        if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    ]
    problems = [
        f'{path}() has no parameter "{name}"{did_you_mean(name, names)}'
        for name in arguments
        if name not in names and (not takes_any or name in given)
    ]
    missing = [p.name for p in parameters if _required(p) and p.name not in arguments]
    problems += [
        f'{path}() needs "{name}", which `with` does not give{_HINTS.get(name, "")}'
        for name in missing
    ]
    return problems


def _problems_of_one(path: str, parameters: list[inspect.Parameter], *, written: bool) -> list[str]:
    positional = [
        p
        for p in parameters
        if p.kind not in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    ]
    argument = "the one value of `with`" if written else "one argument, as the step has no `with`"
    if written and not positional:
        return [f"{path}() takes no argument, but `with` gives one"]
    unmet = [p.name for p in parameters if _required(p) and p not in positional[:1]]
    if unmet:
        return [f"{path}() is called with {argument}, but also needs {', '.join(unmet)}"]
    return []


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty and parameter.kind not in (
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    )
