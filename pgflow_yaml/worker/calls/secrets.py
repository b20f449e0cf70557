"""The sources of `${{ secrets.NAME }}`: each value is looked up at each call and not kept (S-11).

A handler gets ordinary text. Its output, its exceptions and its logs are masked.
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
"""A function from a name to its value or None; called in any thread, at each call of a handler."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)


class SecretMissing(PgflowError):
    """A secret that this worker does not have."""


class Secrets:
    """The secrets of a worker: from a folder, a file or a provider, then from the environment."""

    def __init__(self, source: str | Path | SecretProvider | None = None) -> None:
        """Take a text as the path of a file or folder."""
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
        for name, value in os.environ.items():
            if name.startswith(PREFIX):  # a handler may show its whole environment
                masks.add(value)

    def get(self, name: str) -> str:
        """Return a value, which is masked from now on; raise SecretMissing."""
        # S-8: the name comes from the database; as part of a path it must not lead elsewhere.
        is_name = _NAME.fullmatch(name) is not None
        for source in self._sources if is_name else ():
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
    """Read a file for each secret, as Docker and Kubernetes mount them, without a final newline."""
    return lambda name: _read(folder / name, name).removesuffix("\n")


def _in_file(file: Path) -> SecretProvider:
    """Read a line `NAME=value` for each secret; quotes round a value are not part of it."""
    return lambda name: parse_lines(_read(file, name).removeprefix("\ufeff")).get(name)


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
    """Return the values of a file of `NAME=value` lines; ignore other lines."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is not None:
            value = match[2].strip()
            quoted = _QUOTED.fullmatch(value)
            values[match[1]] = quoted[2] if quoted else value
    return values
