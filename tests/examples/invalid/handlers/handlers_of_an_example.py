"""The handlers of an example whose steps call them wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def greet(name: str) -> str:
    """Take one argument by its name."""
    return f"Hello, {name}!"


def stream() -> Iterator[int]:
    """Give values one by one, which no step can hold."""
    yield 1
