"""The settings of a project, from options, the environment and pyproject.toml, in this order."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database.store import LONGEST_LEASE
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language.durations import FOR_EVER, MAX_RETENTION, milliseconds
from pgflow_yaml.language.model import RETAINED
from pgflow_yaml.runs.logs import LOGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Retention

_TABLE = "pgflow-yaml"
_PREFIX = "PGFLOW_YAML_"
_SWITCH = {"on": True, "true": True, "yes": True, "1": True} | {
    "off": False,
    "false": False,
    "no": False,
    "0": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a project; `sources` names the origin of each value."""

    app_dir: Path
    allow: tuple[str, ...]
    handlers: tuple[str, ...]
    concurrency: int | None
    lease: float | None
    notify: bool
    secrets: Path | None
    logs: str
    prefix: bool
    retention: Retention
    ui_url: str | None
    sources: Mapping[str, str]


def read_settings(
    folder: Path, *, flags: Mapping[str, object], environ: Mapping[str, str]
) -> Settings:
    """Return the settings of a folder; each value comes from the first source that has it.

    The sources are the flags, PGFLOW_YAML_*, [tool.pgflow-yaml] of the nearest pyproject.toml
    in the folder or above it, and the defaults.
    """
    file, table = project_table(folder)
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for name in (field.name for field in fields(Settings) if field.name != "sources"):
        key = name.replace("_", "-")
        variable = _PREFIX + name.upper()
        flag = flags.get(name)
        if flag is not None and flag != ():
            values[name], sources[name] = flag, f"--{'no-' if flag is False else ''}{key}"
        elif variable in environ:
            values[name], sources[name] = environ[variable], variable
        elif (entry := table.get(key, table.get(name))) is not None:
            values[name], sources[name] = entry, str(file)
            if name in ("app_dir", "secrets") and file is not None:
                values[name] = file.parent / str(entry)
        else:
            sources[name] = "default"
    return Settings(
        app_dir=Path(str(values.get("app_dir", folder))),
        allow=_words("allow", values.get("allow", ()), sources["allow"]),
        handlers=_words("handlers", values.get("handlers", ()), sources["handlers"]),
        concurrency=_whole(values.get("concurrency"), sources["concurrency"]),
        lease=_lease(values.get("lease"), sources["lease"]),
        notify=_yes(values.get("notify", True), sources["notify"]),
        secrets=Path(str(values["secrets"])) if "secrets" in values else None,
        logs=_logs(values.get("logs", LOGS[0]), sources["logs"]),
        prefix=_yes(values.get("prefix", True), sources["prefix"]),
        retention=_retention(values.get("retention", {}), sources["retention"]),
        ui_url=_url(values.get("ui_url"), sources["ui_url"]),
        sources=sources,
    )


def local_settings(
    *, app_dir: Path | None = None, allow: Sequence[str] = (), **others: float | Path | None
) -> Settings:
    """Return the settings of the project in the working directory; arguments take precedence."""
    flags = {"app_dir": app_dir, "allow": tuple(allow), **others}
    return read_settings(Path.cwd(), flags=flags, environ=os.environ)


def project_table(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the nearest pyproject.toml of a folder or above it, and its [tool.pgflow-yaml]."""
    for parent in (folder.resolve(), *folder.resolve().parents):
        file = parent / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            content = tomllib.loads(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise WrongSetting(f"{file} cannot be read: {error}") from error
        table = content.get("tool", {}).get(_TABLE, {})
        if not isinstance(table, dict):
            raise WrongSetting(f"{file}: [tool.{_TABLE}] is not a table")
        return file, table
    return None, {}


def _words(name: str, value: object, source: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise WrongSetting(f"{source}: {name} is a list of module names")
    return tuple(value)


def _logs(value: object, source: str) -> str:
    if value not in LOGS:
        raise WrongSetting(f'{source}: logs is one of {", ".join(LOGS)}, not "{value}"')
    return str(value)


def _whole(value: object, source: str) -> int | None:
    number = _seconds(value, source)
    if number is not None and (number < 1 or number != int(number)):
        raise WrongSetting(f"{source}: {value} is not a whole number of at least 1")
    return None if number is None else int(number)


def _lease(value: object, source: str) -> float | None:
    seconds = _duration(value, source)
    if seconds is not None and not 1 <= seconds <= LONGEST_LEASE:
        raise WrongSetting(f"{source}: a lease is from 1 second to 1 day, not {seconds:g} s")
    return seconds


def _duration(value: object, source: str) -> float | None:
    """Return a setting in seconds: a number, or a text as in flow files such as `30s` or `2m`."""
    text = value.strip() if isinstance(value, str) else ""
    duration = milliseconds(text)
    return _seconds(value, source) if duration is None else _seconds(duration / 1000, source)


def _retention(value: object, source: str) -> Retention:
    """Return how long ended runs are kept: one time for all, or a table with one for some."""
    table = value if isinstance(value, dict) else dict.fromkeys(RETAINED, value)
    kept: dict[str, int | None] = {}
    for status, time in table.items():
        text = str(time).strip()
        length = milliseconds(text if text[-1:].isalpha() else f"{text}s")
        is_known = status in RETAINED and (length is not None or text == FOR_EVER)
        if not is_known or (length or 0) > MAX_RETENTION:
            raise WrongSetting(
                f'{source}: retention is a time such as "30d", or "off", or a table of these for '
                "completed and failed"
            )
        kept[status] = length
    return kept


def _url(value: object, source: str) -> str | None:
    """Return the address of the web view without the slash at its end."""
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        raise WrongSetting(
            f'{source}: ui-url is an address such as "https://flows.example.com", not "{value}"'
        )
    return value.rstrip("/")


def _yes(value: object, source: str) -> bool:
    switch = _SWITCH.get(str(value).strip().lower())
    if switch is None:
        raise WrongSetting(f'{source}: "{value}" is neither on nor off')
    return switch


def _seconds(value: object, source: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        value = f"{value:g}" if isinstance(value, float) else value
        raise WrongSetting(f"{source}: {value} is not a positive number")
    return number
