"""Conversion of Python values to JSON text and of exceptions to error records (R-9).

Every output of a handler passes here on its way to the database: a value that PostgreSQL or a
reader would refuse or silently change is refused here, with its path.
"""

from __future__ import annotations

import json
import math
import re
import sys
import traceback
from typing import TYPE_CHECKING

from pgflow_yaml.worker.calls.masks import masks
from pgflow_yaml.worker.calls.plain import advice, plain

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from types import TracebackType

    from pgflow_yaml.language.model import Json

MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 128
MESSAGE_CHARACTERS = 16 * 1024
TRACE_FRAMES = 10

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The end of a key that may have been a number, null, true or false: found by its fixed beginning.
_ONCE_NO_TEXT = re.compile(r'":(?:(?<=[0-9]":)|(?<=(?:null|true|alse)":))')


class Unserialisable(Exception):
    """A value without a JSON text: the `path` of the fault in it, and the `reason`."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


def to_json_text(value: object, *, limit: int = MAX_BYTES) -> str:
    """Return a value's JSON text, which PostgreSQL stores and returns unchanged."""
    try:
        text = _encode(value)
    except TypeError:  # most outputs are JSON already, and pay nothing for those that are not
        value = plain(value)
        text = _encoded(value)
    except (ValueError, RecursionError, OverflowError) as error:
        raise _explained(value) from error
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:  # a lone surrogate
            raise _explained(value) from error
    # An escaped backslash before u0000 looks the same: only the slow search can tell.
    doubtful = "\\u0000" in text or (_ONCE_NO_TEXT.search(text) and _has_other_keys(value))
    if doubtful and (problem := _first_problem(value)) is not None:
        raise problem
    if size > limit:
        raise Unserialisable(
            "$", f"{_megabytes(size)} of JSON; the limit is {_megabytes(limit)}: return a reference"
        )
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    return text


def _encoded(value: object) -> str:
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise _explained(value) from error


def error_record(error: BaseException, *, own: Container[str] = ()) -> dict[str, Json]:
    """Return the record of an exception: {type, message, trace}; never raise.

    The trace begins at the handler's first line, after the files in `own`.
    """
    return {
        "type": clean(type(error).__name__, limit=200),
        "message": clean(_message(error)),
        "trace": clean(_trace(error.__traceback__, own)),
    }


def clean(text: str, *, limit: int = MESSAGE_CHARACTERS) -> str:
    """Return the text cut to `limit`, secrets masked, U+FFFD for what PostgreSQL cannot store."""
    text = masks.text(text)  # before the cut: half a secret would not be known as one
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return _UNSTORABLE.sub("�", text)


def summary(error: BaseException) -> str:
    """Return an exception in half a line, its type and message; never raise."""
    message = _message(error)
    name = type(error).__name__
    return clean(f"{name}: {message}" if message else name, limit=500)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 (R-9: reporting a failure must not fail)
        return f"its message cannot be shown: {type(second).__name__}"


def _trace(trace: TracebackType | None, own: Container[str]) -> str:
    while trace is not None and trace.tb_frame.f_code.co_filename in own:
        trace = trace.tb_next
    if trace is None:
        return ""
    frames = traceback.StackSummary.extract(
        traceback.walk_tb(trace), limit=-TRACE_FRAMES, capture_locals=False
    )
    return "".join(frames.format())


def _explained(value: object) -> Unserialisable:
    return _first_problem(value) or Unserialisable("$", "the value changed while it was read")


def _first_problem(value: object) -> Unserialisable | None:
    """Return the first fault in reading order, or None."""
    waiting: list[Iterator[tuple[str, object]]] = [iter([("$", value)])]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        path, inner = entry
        if reason := _reason(inner):
            return Unserialisable(path, reason)
        if isinstance(inner, dict | list | tuple):
            if len(waiting) > MAX_DEPTH:
                return _too_deep(path)
            waiting.append(_inside(path, inner))
    return None


def _inside(
    path: str, value: dict[object, object] | list[object] | tuple[object, ...]
) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict):
        for index, inner in enumerate(value):
            yield f"{path}[{index}]", inner
        return
    texts: set[str] = set()
    for key, inner in value.items():
        text = key if isinstance(key, str) else str(key)
        name = f".{text}" if _NAME.fullmatch(text) else f"[{clean(repr(text), limit=80)}]"
        inner_path = f"{path}{name}"
        if not _key_is_fine(key):
            yield inner_path, _BadKey(key)
            continue
        text = _key_text(key)
        yield inner_path, _BadKey(key, twin=True) if text in texts else inner
        texts.add(text)


class _BadKey:
    """A value whose key cannot be stored; `twin`: another key has the same JSON text."""

    def __init__(self, key: object, *, twin: bool = False) -> None:
        self.key = key
        self.twin = twin


def _key_text(key: object) -> str:
    """Return the text of a key in JSON."""
    return key if isinstance(key, str) else _encode({key: 0})[2:-4]


def _key_is_fine(key: object) -> bool:
    if isinstance(key, str):
        return _UNSTORABLE.search(key) is None
    return key is None or (isinstance(key, int | float) and math.isfinite(key))


def _reason(value: object) -> str | None:
    """Return the reason why this value itself has no JSON text, or None."""
    reason: str | None = None
    match value:
        case None | bool() | dict() | list() | tuple():
            pass
        case str():
            reason = _reason_of_text(value)
        case int():
            reason = _reason_of_int(value) if value.bit_length() > 14_000 else None
        case float():
            reason = None if math.isfinite(value) else f"{value} is not JSON"
        case _BadKey(key=key, twin=True):
            reason = f'two of its keys are "{clean(_key_text(key), limit=80)}" in JSON: one is lost'
        case _BadKey(key=str() as key):
            reason = f"its key has a character that cannot be stored: {_reason_of_text(key)}"
        case _BadKey(key=key):
            reason = f"its key is {_kind(key)}; JSON has text keys"
        case _:
            reason = f"{_kind(value)} is not JSON{advice(value)}"
    return reason


def _reason_of_text(text: str) -> str | None:
    match = _UNSTORABLE.search(text)
    if match is None:
        return None
    if match.group() == "\x00":
        return f"U+0000 at character {match.start()} (PostgreSQL stores no NUL)"
    return f"half of a surrogate pair (U+{ord(match.group()):04X}) at character {match.start()}"


def _reason_of_int(number: int) -> str | None:
    try:
        str(number)
    except ValueError:
        return f"an integer of more than {sys.get_int_max_str_digits():,} digits"
    return None


def _kind(value: object) -> str:
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def _has_other_keys(value: object) -> bool:
    """Return True if any dict in a value has a key that is not a string."""
    level: list[object] = [value]
    while level:
        if any(set(map(type, outer)) - {str} for outer in level if isinstance(outer, dict)):
            return True
        level = _one_deeper(level)
    return False


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = _one_deeper(level)
        if not level:
            return
    if any(isinstance(inner, dict | list | tuple) for inner in level):
        raise _first_problem(value) or _too_deep("$")


def _one_deeper(level: list[object]) -> list[object]:
    return [
        inner
        for outer in level
        if isinstance(outer, dict | list | tuple)
        for inner in (outer.values() if isinstance(outer, dict) else outer)
    ]


def _too_deep(path: str) -> Unserialisable:
    return Unserialisable(clean(path, limit=200), f"nested deeper than {MAX_DEPTH} levels")


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:.3g} MB"
