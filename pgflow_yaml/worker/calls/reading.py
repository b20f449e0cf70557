"""Readers from JSON to the type of an annotation; wrong data is refused with its field."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections import abc
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pgflow_yaml.errors import PermanentError
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.worker.calls.plain import is_model

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[[Any, str], Any]
    """Function of a JSON value and its path in the arguments, for messages."""

_JSON_TYPES: dict[object, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string"),
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    None: ((types.NoneType,), "null"),
    types.NoneType: ((types.NoneType,), "null"),
    list: ((list,), "a list"),
    dict: ((dict,), "an object"),
}
_FROM_TEXT: dict[object, tuple[Callable[[str], Any], str]] = {
    datetime: (datetime.fromisoformat, "a date and time such as 2026-11-25T08:00:00Z"),
    date: (date.fromisoformat, "a date such as 2026-11-25"),
    time: (time.fromisoformat, "a time such as 08:00:00"),
    UUID: (UUID, "a UUID"),
    Path: (Path, "a path"),
    PurePath: (PurePath, "a path"),
}
_COLLECTIONS: dict[object, type] = {
    **dict.fromkeys((list, abc.Sequence, abc.Collection, abc.Iterable), list),
    **dict.fromkeys((dict, abc.Mapping), dict),
    tuple: tuple,
}


class InvalidArgument(PermanentError):
    """An argument does not fit the annotation of its parameter."""


def is_everyday(annotation: Any) -> bool:
    """Return True if an annotation names a type that JSON does not have, at any depth."""
    inner = typing.get_args(annotation)
    if inner:
        kinds = (typing.get_origin(annotation), *inner)
        return kinds[0] is not typing.Literal and any(map(is_everyday, kinds))
    if not isinstance(annotation, type):
        return False
    known = annotation is Decimal or annotation in _FROM_TEXT or issubclass(annotation, Enum)
    return known or dataclasses.is_dataclass(annotation) or is_model(annotation)


def reader(annotation: Any) -> Reader:
    """Return the reader of an annotation; a type that is not known here is left as it is."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return reader(inner[0])
    if origin in (typing.Union, types.UnionType):
        return _of_union(inner)
    if origin in _COLLECTIONS and inner:
        return _of_collection(_COLLECTIONS[origin], inner)
    kind = origin or annotation
    if not isinstance(kind, type) and kind is not None:
        return _as_it_is
    if isinstance(kind, type):
        if hasattr(kind, "__pydantic_validator__"):  # a model, or a dataclass of pydantic
            return lambda value, path: _model(kind, value, path)
        if dataclasses.is_dataclass(kind):
            return _of_dataclass(kind)
        if issubclass(kind, Enum):
            return lambda value, path: _enum(kind, value, path)
    if kind is Decimal:
        return _decimal
    if kind in _FROM_TEXT:
        return _of_text(*_FROM_TEXT[kind])
    return _of_json(*_JSON_TYPES[kind]) if kind in _JSON_TYPES else _as_it_is


def _as_it_is(value: Any, _path: str) -> Any:
    return value


def _of_json(kinds: tuple[type, ...], wanted: str) -> Reader:
    def read(value: Any, path: str) -> Any:
        if type(value) in kinds:
            return value
        # 2.0 is an integer in JSON.
        if kinds == (int,) and type(value) is float and value.is_integer():
            return int(value)
        raise _wrong(path, wanted, value)

    return read


def _of_text(convert: Callable[[str], Any], wanted: str) -> Reader:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, str):
            raise _wrong(path, wanted, value)
        try:
            return convert(value)
        except ValueError:
            raise _wrong(path, wanted, value) from None

    return read


def _decimal(value: Any, path: str) -> Decimal:
    try:
        if type(value) in (str, int, float):
            return Decimal(str(value))
    except InvalidOperation:
        pass
    raise _wrong(path, "a number, or its text", value)


def _enum(kind: type[Enum], value: Any, path: str) -> Enum:
    for member in kind:
        if type(member.value) is type(value) and member.value == value:
            return member
    options = ", ".join(_shown(member.value) for member in kind)
    raise _wrong(path, f"one of {options}", value)


def _of_union(options: tuple[Any, ...]) -> Reader:
    others = [option for option in options if option is not types.NoneType]
    optional = len(others) < len(options)
    readers = [reader(option) for option in others]

    def read(value: Any, path: str) -> Any:
        if value is None and optional:
            return None
        if len(readers) == 1:
            return readers[0](value, path)
        for option in readers:
            try:
                return option(value, path)
            except InvalidArgument:
                continue
        raise _wrong(path, " or ".join(map(_name, others)), value)

    return read


def _of_collection(kind: Any, inner: tuple[Any, ...]) -> Reader:
    check = _of_json(*_JSON_TYPES[dict if kind is dict else list])
    if kind is dict:
        one = reader(inner[1])
        return lambda value, path: {
            key: one(item, f"{path}.{key}") for key, item in check(value, path).items()
        }
    if kind is tuple and inner[-1] is not Ellipsis:
        places = [reader(item) for item in inner]

        def read(value: Any, path: str) -> tuple[Any, ...]:
            if len(check(value, path)) != len(places):
                raise _wrong(path, f"a list of {len(places)} items", value)
            return tuple(place(value[i], f"{path}[{i}]") for i, place in enumerate(places))

        return read
    one = reader(inner[0])
    return lambda value, path: kind(
        one(item, f"{path}[{number}]") for number, item in enumerate(check(value, path))
    )


def _of_dataclass(kind: type[Any]) -> Reader:
    readers: dict[str, Reader] = {}
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}

    def read(value: Any, path: str) -> Any:
        if type(value) is not dict:
            raise _wrong(path, f"an object for {kind.__name__}", value)
        if not readers:  # at the first call, as a class may name itself
            hints = typing.get_type_hints(kind)
            readers.update({name: reader(hints[name]) for name in fields})
        for name in value:
            if name not in fields:
                hint = did_you_mean(name, fields)
                raise InvalidArgument(f'argument {path}: {kind.__name__} has no "{name}"{hint}')
        missing = [name for name in fields if name not in value and _required(fields[name])]
        if missing:
            raise InvalidArgument(f'argument {path}: {kind.__name__} needs "{missing[0]}"')
        arguments = {name: readers[name](value[name], f"{path}.{name}") for name in value}
        try:
            return kind(**arguments)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"argument {path}: {kind.__name__} refuses it: {error}"
            ) from error

    return read


def _required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _model(kind: Any, value: Any, path: str) -> Any:
    from pydantic import ValidationError  # imported already, by the module of the handler

    try:
        # Its rules for JSON, by which a strict model takes a date from its text.
        return kind.__pydantic_validator__.validate_json(json.dumps(value))
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False)
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        more = f" (and {len(others)} more)" if others else ""
        message = f"{first['msg'][:1].lower()}{first['msg'][1:]}{more}"
        raise InvalidArgument(f"argument {path}{place}: {message}") from error


def _wrong(path: str, wanted: str, value: Any) -> InvalidArgument:
    return InvalidArgument(f"argument {path} must be {wanted}, not {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:60] + "…"


def _name(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)
