"""Users: a person on this machine, a user of a file, or one whom a proxy names.

An application that mounts the pages brings a function of its own: `authorize(scope)` returns the
user of a request, or None.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Role = Literal["viewer", "operator"]
ROLES: tuple[Role, ...] = ("viewer", "operator")
"""Each role may do what those before it may: a viewer looks, an operator acts, too."""

Scope: TypeAlias = MutableMapping[str, Any]
"""A request as ASGI describes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The person who asks; the name is kept with each action."""

    name: str
    role: Role = "viewer"
    groups: tuple[str, ...] = ()

    def may(self, role: Role) -> bool:
        """Return true if the user may do what this role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


Authorize: TypeAlias = Callable[[Scope], User | None]
"""A function that returns the user of a request, or None."""
