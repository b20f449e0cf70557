"""The functions and grants of this release, read from its SQL (S-6, S-23)."""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from pgflow_yaml.database import migrate

if TYPE_CHECKING:
    from collections.abc import Mapping

_FUNCTION = re.compile(
    r"^create (?:or replace )?function pgflow\.(\w+)\(.*?\bas (\$\w*\$)(.*?)\2",
    re.DOTALL | re.MULTILINE,
)
_GRANT = re.compile(r"^grant execute on function\s(.*?)\sto\s(.*?);", re.DOTALL | re.MULTILINE)


def digest(text: str) -> str:
    """Return the hash of a function's body."""
    return sha256(text.encode()).hexdigest()


@cache
def functions() -> Mapping[str, frozenset[str]]:
    """Return the hashes of the bodies of each function; an overloaded one has several."""
    found: dict[str, set[str]] = {}
    for text in migrate.release_texts():
        for name, _, body in _FUNCTION.findall(text):
            found.setdefault(name, set()).add(digest(body))
    return {name: frozenset(hashes) for name, hashes in found.items()}


@cache
def grants() -> Mapping[str, frozenset[str]]:
    """Return the roles that may call each function."""
    found: dict[str, set[str]] = {}
    for text in migrate.release_texts():
        for names, roles in _GRANT.findall(text):
            for name in re.findall(r"pgflow\.(\w+)", names):
                found.setdefault(name, set()).update(re.findall(r"\w+", roles))
    return {name: frozenset(roles) for name, roles in found.items()}
