"""`uv.lock` fits `pyproject.toml`; read without uv and without a network."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK_TEXT = (ROOT / "uv.lock").read_text(encoding="utf-8")
LOCK = tomllib.loads(LOCK_TEXT)
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[\w,-]+)\])?(?P<specifier>.*)")

Requirement = tuple[str, str, str, str]
"""Name, extras, specifier, and the extra of this project that asks for it."""


def declared(requirement: str, extra: str) -> Requirement:
    """Read a requirement of `pyproject.toml`."""
    match = REQUIREMENT.fullmatch(requirement)
    assert match is not None, requirement
    return match["name"], match["extras"] or "", match["specifier"], extra


def locked(entry: dict[str, Any]) -> Requirement:
    """Read a requirement of the lock."""
    extra = entry.get("marker", "").removeprefix("extra == '").removesuffix("'")
    return entry["name"], ",".join(entry.get("extras", ())), entry.get("specifier", ""), extra


def test_the_lock_has_the_requirements_of_the_project() -> None:
    """After a change of a dependency, `uv lock` brings it up to date."""
    (package,) = (p for p in LOCK["package"] if p["name"] == PROJECT["name"])
    wanted = {declared(text, "") for text in PROJECT["dependencies"]}
    for extra, texts in PROJECT["optional-dependencies"].items():
        wanted |= {declared(text, extra) for text in texts}

    assert {locked(entry) for entry in package["metadata"]["requires-dist"]} == wanted
    assert package["version"] == PROJECT["version"]
    assert LOCK["requires-python"] == PROJECT["requires-python"]


def test_the_lock_names_only_the_public_index() -> None:
    """A lock made with a mirror would not work elsewhere."""
    hosts = set(re.findall(r"https?://([^/\"]+)", LOCK_TEXT))

    assert hosts == {"pypi.org", "files.pythonhosted.org"}
