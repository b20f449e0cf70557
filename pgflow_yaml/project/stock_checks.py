"""Mistakes in the `with` of a stock handler that can be seen in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml.handlers.arguments import METHODS, OUTPUTS
from pgflow_yaml.language.handler_paths import STOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.language.model import Json

CODE_WRONG, CODE_BUILT = "PF302", "PF308"
_OPTIONS = {(f"{STOCK}.shell", "output"): OUTPUTS, (f"{STOCK}.http", "method"): METHODS}
_SHELLS = frozenset({"ash", "bash", "dash", "ksh", "sh", "zsh"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A mistake in one argument."""

    code: str
    argument: str
    message: str
    fix: str


def stock_problems(path: str, with_: Json) -> Iterator[Problem]:
    """Yield the mistakes in the compiled `with` of a step with a stock handler."""
    if not isinstance(with_, list) or with_[:1] != ["dict"]:
        return
    arguments = dict(zip(map(str, with_[1::2]), with_[2::2], strict=True))
    for name, value in arguments.items():
        options = _OPTIONS.get((path, name))
        if options and _is_fixed(value) and _value(value) not in (*options, None):
            yield Problem(
                code=CODE_WRONG,
                argument=name,
                message=f"{name} has another value than the handler knows",
                fix=f"write one of {', '.join(options)}",
            )
    if path == f"{STOCK}.shell" and "command" in arguments:
        yield from _of_command(arguments["command"])
    statement = arguments.get("statement")
    if path == f"{STOCK}.sql" and statement is not None and not _is_fixed(statement):
        yield Problem(
            code=CODE_BUILT,
            argument="statement",
            message="the statement is built from an expression: its value becomes SQL",
            fix="write %(name)s in the statement, and the expression in `parameters`",
        )


def _of_command(command: Json) -> Iterator[Problem]:
    is_mapping = isinstance(command, list) and command[:1] == ["dict"]
    if is_mapping or (_is_fixed(command) and not isinstance(_value(command), list)):
        yield Problem(
            code=CODE_WRONG,
            argument="command",
            message="command is a list, the program and its arguments: no shell reads it",
            fix="write it as [git, fetch, --all]",
        )
    items = _items(command)
    texts = [_value(item) if _is_fixed(item) else None for item in items]
    name = str(texts[0]).rpartition("/")[2] if texts else ""
    built = any(
        text == "-c" and not _is_fixed(item)
        for text, item in zip(texts[1:], items[2:], strict=False)
    )
    if name in _SHELLS and built:
        yield Problem(
            code=CODE_BUILT,
            argument="command",
            message=f"the script of {name} is built from an expression: its value becomes code",
            fix='write "$NAME" in the script, and the expression as `NAME` in `env`',
        )


def _items(node: Json) -> list[Json]:
    """Return the items of a list, each as an expression."""
    if _is_fixed(node):
        value = _value(node)
        return [["lit", item] for item in value] if isinstance(value, list) else []
    is_list = isinstance(node, list) and node[:1] == ["list"]
    return list(node[1:]) if is_list and isinstance(node, list) else []


def _is_fixed(node: Json) -> bool:
    return isinstance(node, list) and node[:1] == ["lit"]


def _value(node: Json) -> Json:
    return node[1] if isinstance(node, list) else None
