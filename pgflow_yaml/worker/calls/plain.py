"""Everyday Python values as JSON, each type in one way, and the advice for those that have none."""

from __future__ import annotations

import dataclasses
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

_DEPTH = 128  # deeper values are refused when they are written
_AS_TEXT = (Decimal, UUID, PurePath)
_ADVICE: tuple[tuple[tuple[type, ...], str], ...] = (
    ((set, frozenset), "return sorted(value) or list(value)"),
    ((bytes, bytearray, memoryview), "return its text, or base64.b64encode(value).decode()"),
    ((timedelta,), "return value.total_seconds()"),
    ((type,), "return a value of this class, not the class"),
)


def plain(value: object) -> object:
    """Return a value in which everyday objects are JSON; what has no JSON form stays."""
    return _plain(value, ())


def advice(value: object) -> str:
    """Return what to do about a value without a JSON form, after a colon; empty if unknown."""
    for types, text in _ADVICE:
        if isinstance(value, types):
            return f": {text}"
    if hasattr(value, "tolist"):
        return ": return value.tolist()"
    return ": return list(value)" if hasattr(value, "__iter__") else ""


def is_model(kind: type) -> bool:
    """Return True for a model of pydantic, which is looked for only if something imported it."""
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return base is not None and issubclass(kind, base)


def _plain(value: object, outer: tuple[int, ...]) -> object:
    """Convert a value inside those with the ids `outer`; a circle stays, and is refused later."""
    if isinstance(value, Enum):
        return _plain(value.value, outer)
    if isinstance(value, str):
        return str.__str__(value)  # the characters alone of a subclass
    if value is None or isinstance(value, int | float):
        return value
    if id(value) in outer or len(outer) > _DEPTH:
        return value
    inside = (*outer, id(value))
    if isinstance(value, dict):
        return {key: _plain(inner, inside) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, inside) for inner in value]
    return _of_object(value, inside)


def _of_object(value: object, inside: tuple[int, ...]) -> object:
    if isinstance(value, datetime | date | time):
        return _of_time(value.isoformat())
    if isinstance(value, _AS_TEXT):
        return str(value)
    if is_model(type(value)):
        model: Any = value
        return model.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name), inside) for name in names}
    return value


def _of_time(text: str) -> str:
    """Return the text of a time; UTC is `Z`, as in the times of the engine."""
    return f"{text.removesuffix('+00:00')}Z" if text.endswith("+00:00") else text
