"""Select cases by `-k EXPR`: words of their names, joined with and, or, not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.errors import WrongSetting

if TYPE_CHECKING:
    from collections.abc import Callable

    Test = Callable[[str], bool]

_TOKEN = re.compile(r"\s*(\(|\)|[^\s()]+)")


class _Unreadable(Exception):
    """The message is the word that does not fit; empty at the end of the text."""


def chooser(expression: str | None) -> Callable[[str, str], bool]:
    """Return a function of file and case name that selects cases; raises WrongSetting."""
    if expression is None or not expression.strip():
        return lambda _file, _name: True
    try:
        test, rest = _either(_TOKEN.findall(expression))
    except _Unreadable as error:
        raise _unreadable(expression, str(error)) from None
    if rest:
        raise _unreadable(expression, rest[0])
    return lambda file, name: test(f"{file} {name}".lower())


def _either(words: list[str]) -> tuple[Test, list[str]]:
    left, rest = _both(words)
    while rest[:1] == ["or"]:
        right, rest = _both(rest[1:])
        left = _or(left, right)
    return left, rest


def _both(words: list[str]) -> tuple[Test, list[str]]:
    left, rest = _one(words)
    while rest[:1] == ["and"]:
        right, rest = _one(rest[1:])
        left = _and(left, right)
    return left, rest


def _one(words: list[str]) -> tuple[Test, list[str]]:
    word = words[0] if words else ""
    if word == "not":
        inner, rest = _one(words[1:])
        return (lambda name: not inner(name)), rest
    if word == "(":
        inner, rest = _either(words[1:])
        if rest[:1] != [")"]:
            raise _Unreadable(rest[0] if rest else "")
        return inner, rest[1:]
    if word in {"", ")", "and", "or"}:
        raise _Unreadable(word)
    return (lambda name: word.lower() in name), words[1:]


def _and(left: Test, right: Test) -> Test:
    return lambda name: left(name) and right(name)


def _or(left: Test, right: Test) -> Test:
    return lambda name: left(name) or right(name)


def _unreadable(expression: str, at: str) -> WrongSetting:
    position = f'at "{at}"' if at else "at its end"
    return WrongSetting(
        f'-k "{expression}" cannot be read {position}: write words joined by and, or, not'
    )
