"""Readers for the arguments of stock handlers: a wrong one is refused with its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.model import Json

OUTPUTS = ("none", "text", "lines", "json")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class WrongArgument(PermanentError):
    """An argument of a stock handler has a wrong value."""


def text(value: Json, name: str) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise WrongArgument(f"{name} is a text, not {shown(value)}")
    return value


def texts(value: Json, name: str) -> dict[str, str]:
    """Return a mapping of names to texts; numbers become texts."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WrongArgument(f"{name} is a mapping of names to texts, not {shown(value)}")
    return {key: word(inner, f"{name}.{key}") for key, inner in value.items()}


def word(value: Json, name: str) -> str:
    """Return a text, or a number as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongArgument(f"{name} is a text or a number, not {shown(value)}")
    return str(value)


def one_of(value: Json, name: str, options: Sequence[str]) -> str:
    """Return one of these words."""
    if value not in options:
        raise WrongArgument(f"{name} is one of {', '.join(options)}")
    return str(value)


def whole_numbers(value: Json, name: str, least: int, most: int) -> frozenset[int]:
    """Return one number or a list of them as a set."""
    listed = value if isinstance(value, list) else [value]
    numbers = {number for number in listed if type(number) is int and least <= number <= most}
    if len(numbers) < len(listed) or not listed:
        raise WrongArgument(
            f"{name} is a number from {least} to {most}, or a list of these, not {shown(value)}"
        )
    return frozenset(numbers)


def shown(value: Json) -> str:
    """Return the kind of a value for a message: the value itself may be a secret."""
    if value is None:
        return "null"
    if value == "":
        return "an empty text"
    kinds = {bool: "true or false", dict: "a mapping", list: "a list", str: "this text"}
    return kinds.get(type(value), "this number")
