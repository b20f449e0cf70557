"""The databases of a project by name, and the routes that send its flows to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.project.settings import project_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_DATABASES = 8
DEFAULT = "default"
"""The name of the database of flows without a route: DATABASE_URL, or else the project's own."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_PATTERN = re.compile(r"(?!.*__)(\*|[a-z_][a-z0-9_]{0,46}\*?)")  # flowName of the schema
_PASSWORD = re.compile(r"^\w+://[^/?#@]*:[^/?#@]+@|(?:^|[\s?&])(?:ssl)?password\s*=", re.IGNORECASE)


def has_password(dsn: str) -> bool:
    """Return True if a connection string holds a password."""
    return bool(_PASSWORD.search(dsn))


@dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """Databases beside the default one, in the order of pyproject.toml, and routes to them.

    A value is a connection string, or the name of the variable that holds it as `{"env": NAME}`.
    """

    values: Mapping[str, str | Mapping[str, str]]
    routes: Mapping[str, str]
    source: str

    @property
    def names(self) -> list[str]:
        """The names of all databases, the default one first."""
        return [DEFAULT, *self.values]

    def of_flow(self, flow: str) -> str:
        """Return the name of a flow's database: that of its own route, else of the longest one."""
        if flow in self.routes:
            return self.routes[flow]
        beginnings = [
            pattern
            for pattern in self.routes
            if pattern.endswith("*") and flow.startswith(pattern[:-1])
        ]
        return self.routes[max(beginnings, key=len)] if beginnings else DEFAULT

    def named(self, name: str) -> str:
        """Return the name if a database has it; raises WrongSetting with a similar one."""
        if name in self.names:
            return name
        if not self.values:
            raise WrongSetting(
                f'there is no database "{name}": [tool.pgflow-yaml.databases] of pyproject.toml '
                "names none"
            )
        hint = did_you_mean(name, self.names) or f"; write {' or '.join(self.names)}"
        raise WrongSetting(f'there is no database "{name}" in {self.source}{hint}')

    def conninfo(self, name: str, environ: Mapping[str, str]) -> str:
        """Return the connection string of a named database; raises WrongSetting."""
        value = self.values[name]
        if isinstance(value, str):
            return value
        if not (found := environ.get(value["env"])):
            raise WrongSetting(
                f'{self.source}: database "{name}" is in the variable {value["env"]}, which is '
                "not set"
            )
        return found


def read_databases(folder: Path) -> Databases:
    """Return the databases of the nearest pyproject.toml; raises WrongSetting for a wrong one."""
    file, table = project_table(folder)
    source = str(file)
    return checked_databases(
        _table(table, "databases", source), _table(table, "routes", source), source
    )


def checked_databases(
    values: Mapping[str, Any], routes: Mapping[str, Any], source: str
) -> Databases:
    """Return databases and routes; raises WrongSetting for a wrong one, which `source` has."""
    if len(values) > MOST_DATABASES:
        raise WrongSetting(
            f"{source}: {len(values)} databases are named; a project has up to {MOST_DATABASES}"
        )
    for name, value in values.items():
        _check_database(name, value, source)
    databases = Databases(values=values, routes=routes, source=source)
    for pattern, name in routes.items():
        _check_route(pattern, name, databases)
    return databases


def _table(table: Mapping[str, Any], key: str, source: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        example = 'eu = "service=eu"' if key == "databases" else '"order*" = "eu"'
        raise WrongSetting(f"{source}: {key} is a table, such as {{{example}}}")
    return value


def _check_database(name: str, value: object, source: str) -> None:
    if name == DEFAULT or not _NAME.fullmatch(name):
        why = (
            "is the one that DATABASE_URL or --dsn names: give this one another name"
            if name == DEFAULT
            else "is not a name: write a small letter, then small letters, digits, - and _"
        )
        raise WrongSetting(f'{source}: database "{name}" {why}')
    is_variable = isinstance(value, dict) and list(value) == ["env"]
    text = value["env"] if isinstance(value, dict) and is_variable else value
    if not isinstance(text, str) or not text.strip():
        raise WrongSetting(
            f'{source}: database "{name}" is a connection string such as "service=eu", or '
            '{env = "EU_DATABASE_URL"}'
        )
    if not is_variable and source.endswith(".toml") and has_password(text):
        raise WrongSetting(
            f'{source}: database "{name}" holds a password, which does not belong into a file of '
            'the project; write {env = "EU_DATABASE_URL"}, or put it into ~/.pgpass'
        )


def _check_route(pattern: str, name: object, databases: Databases) -> None:
    start = f'{databases.source}: route "{pattern}"'
    if not _PATTERN.fullmatch(pattern):
        raise WrongSetting(
            f"{start} is neither the name of a flow nor the beginning of names and a *, such as "
            '"order*"'
        )
    if not isinstance(name, str):
        raise WrongSetting(
            f'{start} is the name of one database, such as "eu": a flow is not split over several'
        )
    if name not in databases.names:
        hint = did_you_mean(name, databases.names) or "; [tool.pgflow-yaml.databases] has the names"
        raise WrongSetting(f'{start}: there is no database "{name}"{hint}')
