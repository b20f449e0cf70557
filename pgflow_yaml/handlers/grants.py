"""The rights that a worker gives its stock handlers, from its own environment.

No flow can change them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pgflow_yaml.errors import PermanentError
from pgflow_yaml.worker.calls.masks import masks

if TYPE_CHECKING:
    from collections.abc import Mapping

SHELL_ENV, SHELL_FOLDERS = "PGFLOW_YAML_SHELL_ENV", "PGFLOW_YAML_SHELL_FOLDERS"
HTTP_ALLOW = "PGFLOW_YAML_HTTP_ALLOW"
SQL_DATABASE = "PGFLOW_YAML_SQL_"

# Of the query of a URL, where a & ends it, of a URL, or of words with values.
_PASSWORD = re.compile(
    r"[?&]password=(?P<query>[^&\s]+)|(?:://[^:/@]*:|\bpassword\s*=\s*'?)(?P<other>[^@\s']+)"
)
_PASSED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")


class NotGranted(PermanentError):
    """The worker does not grant this to flows."""


@dataclass(frozen=True, slots=True)
class Grants:
    """The folder with the modules of a worker, and its environment."""

    folder: Path
    environ: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """Return the variables that a program may see of the worker's own."""
        names = (*_PASSED, *self._words(SHELL_ENV))
        return {name: self.environ[name] for name in names if name in self.environ}

    def folder_of(self, cwd: str) -> Path:
        """Return the folder for a program; raise NotGranted if it lies outside of the project."""
        folder = (self.folder / cwd).resolve()
        others = self.environ.get(SHELL_FOLDERS, "").split(os.pathsep)
        allowed = [self.folder, *(Path(other) for other in others if other)]
        if not any(folder.is_relative_to(path.resolve()) for path in allowed):
            raise NotGranted(
                f"cwd {folder} is outside of {self.folder}: to allow it, name it in "
                f"{SHELL_FOLDERS} where the worker runs"
            )
        if not folder.is_dir():
            raise PermanentError(f"cwd: there is no folder {folder} where this worker runs")
        return folder

    def addresses(self) -> tuple[str, ...]:
        """Return the hosts and networks that requests may reach although they are private."""
        return self._words(HTTP_ALLOW)

    def database(self, name: str) -> str:
        """Return the connection string of a database; raise NotGranted if there is none."""
        variable = SQL_DATABASE + name.upper()
        if conninfo := self.environ.get(variable):
            passwords = (found["query"] or found["other"] for found in _PASSWORD.finditer(conninfo))
            for secret in (conninfo, *passwords):
                masks.add(unquote(secret))
            return conninfo
        known = sorted(
            key.removeprefix(SQL_DATABASE).lower()
            for key, value in self.environ.items()
            if key.startswith(SQL_DATABASE) and value
        )
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise NotGranted(
            f'this worker has no database "{name}" ({has}): set {variable} where it runs'
        )

    def _words(self, name: str) -> tuple[str, ...]:
        return tuple(self.environ.get(name, "").replace(",", " ").split())
