"""Queries of addresses: known names and values only, else a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.errors import WrongSetting

if TYPE_CHECKING:
    from collections.abc import Collection

    from pgflow_yaml.web.asked import Asked

LONGEST = 200
_MOST = 2**31 - 1  # an int of SQL


def check(asked: Asked, known: Collection[str]) -> None:
    """Raise WrongSetting for a name that is not known: without it, the page would show more."""
    for name, value in asked.query.multi_items():
        if name not in known:
            raise WrongSetting(f'there is no filter "{name}"; the filters are {", ".join(known)}')
        if len(value) > LONGEST:
            raise WrongSetting(f"the filter {name} has more than {LONGEST} characters")


def number(asked: Asked, name: str, *, least: int = 0, most: int = _MOST) -> int | None:
    """Return a number of the address; None if it is absent or empty."""
    text = asked.query.get(name, "")
    if not text:
        return None
    found = whole(text)
    if found is None or not least <= found <= most:
        raise WrongSetting(f'{name} "{text}": write a number from {least} to {most:,}')
    return found


def whole(text: str) -> int | None:
    """Return a number of digits that SQL takes; None for another text."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MOST))):
        return None
    return int(text) if int(text) <= _MOST else None


def choice(asked: Asked, name: str, values: Collection[str]) -> str:
    """Return a value of the address that is one of these; nothing if it is absent or empty."""
    text = asked.query.get(name, "")
    if text and text not in values:
        raise WrongSetting(f'{name} "{text}": write {", ".join(values)}')
    return text
