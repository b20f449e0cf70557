"""The call of handlers, and the checks before it (workflow-language §3.5)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.worker.calls import (
    Context,
    Handlers,
    HandlerUnavailable,
    invoke,
    signature_problems,
)

if TYPE_CHECKING:
    from datetime import datetime

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Handler
    from tests.fixtures.apps import App

CALLABLES = """
    import functools

    def one(x): return ["one", x]
    def none(): return "none"
    def ctx_only(ctx): return ctx.step
    def ctx_last(x, ctx): return [x, ctx.step]
    def ctx_first(ctx, x): return [x, ctx.step]
    def ctx_keyword(x, *, ctx): return [x, ctx.step]
    def many(*xs): return list(xs)
    def named(a, bonus=2): return [a, bonus]
    def named_ctx(ctx, a, b=2): return [a, b, ctx.step]
    def keyword_only(*, a, b=2): return [a, b]
    def anything(**kw): return kw
    def two(a, b): return [a, b]
    part = functools.partial(two, b="bound")
    class Made:
        def __call__(self, x, ctx): return [x, ctx.step]
    async def awaited(x): return x
    async def stream(x): yield x
    def wrapped_async(f):
        @functools.wraps(f)
        def inner(x): return f(x)
        return inner
    class Async:
        async def __call__(self, x): return x
"""


class Attempt:
    """The attempt of a context."""

    run_id, step, index, attempt, fence, iteration, cancelled = "r", "s", 3, 2, 2, 0, False
    retries = 0
    trace_id: str | None = None
    scheduled_at: datetime | None = None


def context(attempt: Any = None) -> Context:
    beats: list[None] = []
    return Context(
        attempt or Attempt(), run_input=lambda: {"n": 1}, beat=lambda: beats.append(None), timeout=5
    )


def handler(app: App, name: str) -> Handler:
    app.write("things.py", CALLABLES)
    return Handlers(app.folder).get(f"things.{name}")


def called(handler: Handler, value: Json, *, named: bool = False) -> object:
    return invoke(handler, value, context() if handler.takes_ctx else None, named=named)


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("one", ["one", "v"]),
        ("none", "none"),
        ("ctx_only", "s"),
        ("ctx_last", ["v", "s"]),
        ("ctx_first", ["v", "s"]),
        ("ctx_keyword", ["v", "s"]),
        ("many", ["v"]),
        ("part", ["v", "bound"]),
        ("Made", ["v", "s"]),
        ("anything", {}),
    ],
)
def test_a_step_without_a_mapping_gives_one_value(app: App, name: str, output: Json) -> None:
    """The value is the first argument; a function without parameters gets none; ctx is by name."""
    assert called(handler(app, name), "v") == output


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("named", [1, 2]),
        ("named_ctx", [1, 2, "s"]),
        ("keyword_only", [1, 2]),
        ("anything", {"a": 1}),
    ],
)
def test_a_mapping_gives_keyword_arguments(app: App, name: str, output: Json) -> None:
    """Each key of `with` is a parameter."""
    assert called(handler(app, name), {"a": 1}, named=True) == output


def test_async_functions_and_callables_are_known_as_such(app: App) -> None:
    """They are awaited; a wrapper that hides one is an ordinary function."""
    assert handler(app, "awaited").is_async
    assert Handlers(app.folder).get("things.Async").is_async
    assert not Handlers(app.folder).get("things.one").is_async


@pytest.mark.parametrize("name", ["stream"])
def test_a_generator_is_refused(app: App, name: str) -> None:
    """A generator has no output."""
    with pytest.raises(HandlerUnavailable, match="it is a generator"):
        handler(app, name)


WITH_A: Json = ["dict", "a", ["lit", 1]]
WITH_AC: Json = ["dict", "a", ["lit", 1], "bonnus", ["lit", 1]]
WITH_CTX: Json = ["dict", "a", ["lit", 1], "ctx", ["lit", 1]]
ONE_VALUE: Json = ["path", "input.a"]
NO_WITH = "is called with one argument, as the step has no `with`,"
ONE_WITH = "is called with the one value of `with`,"


@pytest.mark.parametrize(
    ("name", "with_", "problems"),
    [
        ("one", None, []),
        ("none", None, []),
        ("ctx_only", None, []),
        ("ctx_first", None, []),
        ("part", None, []),
        ("two", None, [f"things.two() {NO_WITH} but also needs b"]),
        ("keyword_only", None, [f"things.keyword_only() {NO_WITH} but also needs a"]),
        ("one", ONE_VALUE, []),
        ("none", ONE_VALUE, ["things.none() takes no argument, but `with` gives one"]),
        ("two", ONE_VALUE, [f"things.two() {ONE_WITH} but also needs b"]),
        ("named", WITH_A, []),
        ("anything", WITH_AC, []),
        ("two", WITH_A, ['things.two() needs "b", which `with` does not give']),
        ("named", WITH_AC, ['things.named() has no parameter "bonnus"; did you mean "bonus"?']),
        ("anything", WITH_CTX, ['things.anything() has no parameter "ctx"']),
    ],
)  # fmt: skip
def test_a_signature_is_checked_against_with(
    app: App, name: str, with_: Json, problems: list[str]
) -> None:
    """Every name is a parameter, and every parameter without a default is given."""
    assert signature_problems(handler(app, name), with_) == problems


def test_a_function_without_a_signature_is_not_judged(app: App) -> None:
    """Callables built in C may have none; they are called with one value."""
    built_in = handler(app, "one")
    object.__setattr__(built_in, "function", functools.partial(max))

    assert signature_problems(built_in, None) == []


def test_the_context_knows_the_attempt() -> None:
    """The idempotency key is the same over attempts; attempt and cancelled follow the worker."""
    attempt = Attempt()
    ctx = context(attempt)

    assert (ctx.run_id, ctx.step, ctx.index, ctx.iteration) == ("r", "s", 3, 0)
    assert ctx.idempotency_key == "r/s/3/0"
    assert ctx.run_input == {"n": 1}
    assert ctx.heartbeat()

    attempt.fence, attempt.cancelled = 4, True

    assert (ctx.attempt, ctx.fence, ctx.cancelled) == (2, 4, True)
    assert not ctx.heartbeat()
    assert ctx.idempotency_key == "r/s/3/0"


def test_lines_of_the_context_log_carry_the_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """`ctx.log` adds run_id, step, index and attempt to each record."""
    context().log.warning("hello %s", "there", extra={"more": 1})

    record = caplog.records[0]
    assert record.getMessage() == "hello there"
    assert (record.__dict__["run_id"], record.__dict__["more"]) == ("r", 1)
    assert record.name == "pgflow_yaml.handler"
