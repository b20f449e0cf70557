"""Where the values of `${{ secrets.NAME }}` come from: looked up for each call, never kept (S-11).

A handler gets ordinary text: what it does with it is its own affair, what it returns, raises and
logs is masked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from pgflow_yaml.errors import PgflowError, WrongSetting
from pgflow_yaml.worker.calls.masks import masks

PREFIX = "PGFLOW_YAML_SECRET_"

SecretProvider: TypeAlias = Callable[[str], str | None]
"""Gives the value of a name, or None; called in any thread, for each call of a handler."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)


class SecretMissing(PgflowError):
    """A secret that this worker does not have."""


class Secrets:
    """The secrets of a worker: those of a folder, a file or a provider, then the environment's."""

    def __init__(self, source: str | Path | SecretProvider | None = None) -> None:
        """A text is the path of a file or folder."""
        self._sources: list[SecretProvider] = []
        self._fix = f"set {PREFIX}{{}} where the worker runs"
        if isinstance(source, str | Path):
            path = Path(source)
            if not path.exists():
                raise WrongSetting(f"secrets: there is no file or folder {path}")
            self._sources.append(_in_folder(path) if path.is_dir() else _in_file(path))
            self._fix = f"put it into {path}, or {self._fix}"
        elif source is not None:
            self._sources.append(source)
            self._fix = f"let the worker's provider give it, or {self._fix}"
        self._sources.append(lambda name: os.environ.get(PREFIX + name))

    def get(self, name: str) -> str:
        """The value, which is masked from now on; raises SecretMissing."""
        # S-8: the name comes from the database; as part of a path it must not lead elsewhere.
        known = _NAME.fullmatch(name) is not None
        for source in self._sources if known else ():
            value = source(name)
            if value is not None and not isinstance(value, str):
                raise SecretMissing(
                    f"secret {name}: the worker's provider gives {type(value).__name__}, not text"
                )
            if value:
                masks.add(value)
                return value
        raise SecretMissing(f"this worker has no secret {name}: {self._fix.replace('{}', name)}")


def _in_folder(folder: Path) -> SecretProvider:
    """A file for each secret, as Docker and Kubernetes mount them; a newline at its end is none."""
    return lambda name: _read(folder / name, name).removesuffix("\n")


def _in_file(file: Path) -> SecretProvider:
    """A line `NAME=value` for each secret; quotes round a value are not part of it."""
    return lambda name: parse_lines(_read(file, name)).get(name)


def _read(file: Path, name: str) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise SecretMissing(f"secret {name} cannot be read: {file} is not UTF-8 text") from None
    except OSError as error:
        raise SecretMissing(f"secret {name} cannot be read: {file}: {error.strerror}") from error


def parse_lines(text: str) -> Mapping[str, str]:
    """The values of a file of `NAME=value` lines; other lines say nothing."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is not None:
            value = match[2].strip()
            quoted = _QUOTED.fullmatch(value)
            found[match[1]] = quoted[2] if quoted else value
    return found
