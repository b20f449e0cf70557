"""The kinds of rows in the table of routes, and what a page, a part and an action are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from pgflow_yaml.web.asked import Asked

Who = Literal["anyone", "viewer", "operator"]
Kind = Literal["page", "part", "json", "stream", "file", "hook"]
"""Kind of an answer: it decides how a refusal looks. A hook is a POST of a program: it has neither
session nor form, and checks the body itself."""

Reader: TypeAlias = Callable[["Asked"], Mapping[str, Any]]
"""A function that returns what a template shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A route: who may ask for it, and what answers."""

    method: Literal["GET", "POST"]
    path: str
    who: Who
    kind: Kind
    app: ASGIApp
    writes: bool = False
    """True for the pages and forms of actions, which a server that only reads does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a page that is updated by itself; its template is `PAGE/NAME.html`."""

    read: Reader
    watch: Callable[[Asked], str] = lambda _: ""
    """Returns what the part depends on: `run:ID`, `runs`, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: its template is `NAME.html`, its JSON what the command with this purpose prints."""

    path: str
    name: str
    read: Reader
    json: Callable[[Asked], object]
    json_path: str = ""
    """Path of the JSON, if not the path with `.json` behind it."""
    json_next: Callable[[Asked], str] = lambda _: ""
    """Returns the path of the JSON that goes on where this one ends; empty: this is all of it."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    nav: str = ""
    """The word in the navigation; empty: the page is not there."""

    def part_path(self, part: str) -> str:
        """Return the path of a part."""
        return f"{self.path.rstrip('/')}/parts/{part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A whole value to keep: `read` returns it, and the name of its file."""

    path: str
    read: Callable[[Asked], tuple[object, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The end of an action: the page to show next, with a sentence."""

    to: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action: GET asks (the template `actions/NAME.html`), POST does it."""

    path: str
    name: str
    ask: Reader
    do: Callable[[Asked], Done | None]
    """Acts; None: nothing is done yet, and the form is shown again."""
    asks_writing: bool = False
    """True if the question itself locks a run, as a retry that is only tried does."""
