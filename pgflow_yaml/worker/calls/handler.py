"""Handlers by dotted path: the callable and the shape of its parameters."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.language.handler_paths import GUARDED
from pgflow_yaml.worker.calls.allowed import AllowList, NotAllowed
from pgflow_yaml.worker.calls.annotations import problem_of_tx, readers_of
from pgflow_yaml.worker.calls.boundary import summary
from pgflow_yaml.worker.calls.forks import end_forked, fork_depth

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls.allowed import HandlerLocation
    from pgflow_yaml.worker.calls.reading import Reader

log = logging.getLogger(__name__)

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class HandlerUnavailable(PgflowError):
    """This process does not have the handler."""

    def __init__(self, path: str, reason: str, *, fix: str | None = None) -> None:
        """`reason` completes the message: not allowed here, missing, or not a handler."""
        self.path = path
        self.reason = reason
        self.fix = fix
        super().__init__(f'handler "{path}": {reason}')


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Handler:
    """A callable and the shape of its parameters; equal to itself only, and so a fast key.

    `first` is the parameter that takes the one value of a call without names.
    """

    path: str
    function: Callable[..., object]
    is_async: bool
    takes_value: bool
    takes_ctx: bool
    ctx_first: bool
    first: str
    readers: Mapping[str, Reader]
    takes_tx: bool
    tx_problem: str = ""
    """The reason why its parameter `tx` cannot be given a transaction."""


class Handlers:
    """The handlers of this process, by dotted path; each is loaded once."""

    def __init__(self, app_dir: Path, allow: Iterable[str] = (), only: Iterable[str] = ()) -> None:
        rules: dict[str, list[Json]] = {"allow": [*allow], "only": [*only]}
        self._allowed = AllowList(app_dir, map(str, rules["allow"]), map(str, rules["only"]))
        self._rules: dict[str, Json] = {"app_dir": self._allowed.app_dir, **rules}
        self.imports = True
        """False if other processes import the modules, and this one only looks for them."""
        self._allowed.extend_path()
        self._elsewhere: Callable[[str], None] | None = None
        self._loaded: dict[str, Handler] = {}
        self._locks: dict[str, threading.RLock] = {}

    def get(self, path: str) -> Handler:
        """Return the handler of this path; raise only HandlerUnavailable."""
        assert self.imports, "handlers are called in other processes"
        if (handler := self._loaded.get(path)) is not None:
            return handler
        try:
            return self._load(path)
        except NotAllowed as error:
            raise HandlerUnavailable(path, str(error), fix=error.fix) from error
        except BaseException as error:  # a module may raise anything when it is inspected
            raise HandlerUnavailable(path, f"looking it up failed: {summary(error)}") from error

    def as_json(self) -> dict[str, Json]:
        """Return the rules by which another process may call the same handlers."""
        return self._rules

    def ask_elsewhere(self, check: Callable[[str], None]) -> None:
        """Leave all to other machines: `check` asks one, and raises HandlerUnavailable."""
        self.imports = False
        self._elsewhere = check

    def check(self, path: str) -> None:
        """Raise HandlerUnavailable if this worker cannot call a handler, as far as it can know."""
        if self._elsewhere is not None:
            self._elsewhere(path)
            return
        if self.imports:
            self.get(path)
            return
        for _, error in self.unlocated([path]):
            raise HandlerUnavailable(path, str(error), fix=error.fix) from error

    def unlocated(self, paths: Iterable[str]) -> Iterator[tuple[str, NotAllowed]]:
        """Yield those of these paths that no module may hold, and why; import nothing."""
        importlib.invalidate_caches()  # a file may be new
        for path in () if self._elsewhere is not None else paths:
            try:
                self._allowed.locate(path)
            except NotAllowed as error:
                yield path, error
            except BaseException as error:  # noqa: BLE001 (R-6: its first call will tell)
                log.debug("looking for %s failed: %s", path, summary(error))

    def _load(self, path: str) -> Handler:
        importlib.invalidate_caches()  # the file may be new
        location = self._allowed.locate(path)
        # A lock for each module: one that hangs when it is imported holds up no other.
        with self._locks.setdefault(location.module, threading.RLock()):
            if (loaded := self._loaded.get(path)) is not None:
                return loaded
            module = _import(location)
            self._allowed.confirm(location, module)
            handler = _describe(path, self._granted(path, self._follow(module, location)))
            self._loaded[path] = handler
        return handler

    def _follow(self, module: types.ModuleType, location: HandlerLocation) -> Callable[..., object]:
        """Walk from the module to the callable: at most through one class or object."""
        first, *rest = location.names
        target = _attribute(module, first, of=f'module "{module.__name__}"')
        if inspect.ismodule(target):
            raise NotAllowed(f'"{first}" is a module that "{module.__name__}" imported')
        if rest:
            self._check_origin(target)
            owner = _instance(target) if _needs_self(target, rest[0]) else target
            target = _attribute(owner, rest[0], first)
        elif inspect.isclass(target):
            self._check_origin(target)
            if "__call__" not in _own_names(target):
                raise NotAllowed(f'class "{first}" has no method __call__')
            target = _instance(target)
        if not callable(target):
            raise NotAllowed(f'"{".".join(location.names)}" cannot be called')
        self._check_origin(target)
        return target

    def _granted(self, path: str, target: Callable[..., object]) -> Callable[..., object]:
        """Give a stock handler what this worker grants it, out of reach of a step's `with`."""
        if path not in GUARDED:
            return target
        from pgflow_yaml.handlers.grants import Grants

        return functools.partial(target, Grants(Path(self._allowed.app_dir), os.environ))

    def _check_origin(self, target: object) -> None:
        while isinstance(target, functools.partial):
            target = target.func
        owner = getattr(target, "__self__", None)
        module = getattr(target, "__module__", None)
        if module is None and owner is not None:  # a method of a built-in type
            module = type(owner).__module__
        if module is None:
            module = type(target).__module__
        self._allowed.check_defined_in(module, getattr(target, "__name__", ""))


def _import(location: HandlerLocation) -> types.ModuleType:
    depth = fork_depth()
    try:
        module = importlib.import_module(location.module)
    except BaseException as error:
        end_forked(depth, error)
        raise NotAllowed(f"importing {location.module} failed: {summary(error)}") from error
    end_forked(depth)
    return module


def _attribute(owner: object, name: str, of: str) -> object:
    try:
        return getattr(owner, name)
    except AttributeError:
        from pgflow_yaml.language.suggestions import did_you_mean

        names = [known for known in dir(owner) if not known.startswith("_")]
        raise NotAllowed(f'there is no "{name}" in {of}{did_you_mean(name, names)}') from None


def _needs_self(owner: object, name: str) -> bool:
    return inspect.isclass(owner) and inspect.isfunction(inspect.getattr_static(owner, name, None))


def _own_names(cls: type) -> set[str]:
    return {name for base in cls.__mro__ if base is not object for name in vars(base)}


def _instance(cls: object) -> object:
    assert isinstance(cls, type)
    try:
        return cls()
    except BaseException as error:
        raise NotAllowed(
            f'class "{cls.__name__}" cannot be made without arguments: {summary(error)}'
        ) from error


def _describe(path: str, target: Callable[..., object]) -> Handler:
    inner: object = target
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not (inspect.isroutine(inner) or inspect.isclass(inner)):
        inner = type(inner).__call__ if callable(inner) else inner
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise NotAllowed("it is a generator; a handler returns its output with `return`")
    parameters = _parameters(target)
    positional = [p.name for p in parameters if p.kind in _POSITIONAL]
    is_async = inspect.iscoroutinefunction(inner)
    tx = next((p for p in parameters if p.name == "tx"), None)
    tx_problem = "" if tx is None else problem_of_tx(target, tx, is_async=is_async)
    return Handler(
        path=path,
        function=target,
        is_async=is_async,
        takes_value=any(
            p.name != "ctx" and p.kind in (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL)
            for p in parameters
        ),
        takes_ctx=any(
            p.name == "ctx" and p.kind in (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
            for p in parameters
        ),
        ctx_first=positional[:1] == ["ctx"],
        first=next((name for name in positional if name != "ctx"), ""),
        readers=readers_of(target, parameters),
        takes_tx=bool(tx_problem) or (tx is not None and tx.kind is tx.KEYWORD_ONLY),
        tx_problem=tx_problem,
    )


def _parameters(target: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # built in C, without a signature: takes one value
        return [inspect.Parameter("value", inspect.Parameter.POSITIONAL_ONLY)]
