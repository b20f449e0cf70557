"""The request: all that a page or an action may know of the request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.datastructures import QueryParams

    from pgflow_yaml.client import Client
    from pgflow_yaml.web.access import User
    from pgflow_yaml.web.bulk import Jobs

Value = TypeVar("Value")


class Moved(Exception):
    """The page has another address."""

    def __init__(self, to: str) -> None:
        """Store the path with its query, without the root."""
        self.to = to
        super().__init__(to)


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request of a user, with a client for it: one that can only read, unless it acts.

    `params` are the names in the path, `query` what follows the question mark, `form` the fields of
    a POST. `token` is for the forms of the answer.
    """

    client: Client
    user: User
    token: str
    path: str
    root: str
    """The path at which the pages are mounted; empty at the top of a host."""
    params: Mapping[str, str]
    query: QueryParams
    jobs: Jobs
    """The changes of many runs by this server."""
    form: Mapping[str, str] = field(default_factory=dict)
    nav: Mapping[str, str] = field(default_factory=dict)
    """The words of the navigation, by path."""
    signs_in: bool = False
    """True if the user has a session here, and may log out."""
    theme: str = ""
    flash: str = ""
    read_only: bool = False
    error: str = ""
    """The sentence of a refused form, which is shown again."""
    _read: dict[object, Any] = field(default_factory=dict)

    def once(self, read: Callable[[Asked], Value]) -> Value:
        """Return what a function reads; it is called once a request, whoever asks."""
        if read not in self._read:
            self._read[read] = read(self)
        value: Value = self._read[read]
        return value

    def url(self, path: str) -> str:
        """Return the address of a path of ours."""
        return self.root + path

    @property
    def here(self) -> str:
        """The path with its query: the way back to this page."""
        path = quote(self.path)
        return f"{path}?{self.query}" if self.query else path

    @property
    def acts(self) -> bool:
        """True if the user may act here: buttons are for those only."""
        return self.user.may("operator") and not self.read_only
