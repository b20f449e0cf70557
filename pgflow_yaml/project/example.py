"""The files that `init` writes: a flow, its handlers and tests, and the schemas for an editor."""

from __future__ import annotations

from importlib.resources import files as package_files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

SCHEMAS = {
    ".flow.yaml": "schemas/workflow.schema.json",
    ".test.yaml": "schemas/test.schema.json",
}
"""Path of the schema for the editor, by the end of a file's name.

The files are committed with the flows, so that they are there after a clone.
"""
MODELINE = "# yaml-language-server: $schema=./{}\n"
JETBRAINS_MODELINE = "# $schema: ./{}\n"

PYPROJECT = """[tool.pgflow-yaml]
# Modules in this folder may be handlers. Others are named here, by package:
# allow = ["shop"]
"""

NEXT: Mapping[str, tuple[str, ...]] = {
    "hello": ("test", "run hello.flow.yaml --input name=Ada", "show last"),
    "etl": ("test", "run etl.flow.yaml", "show last"),
    "approval": ("test", "run release.flow.yaml --detach", "approve last review", "worker --burst"),
    "alert": (
        "test",
        "compile alert.flow.yaml nightly.flow.yaml",
        "start nightly --input broken=true",
        "worker --burst",
        "runs",
    ),
    "saga": ("test", "run trip.flow.yaml --input card=declined", "show last"),
}
"""The next commands to try, by template."""


def files(template: str, *, jetbrains: bool) -> dict[str, str]:
    """Return the text of each file by its name."""
    texts = {
        file.name: _modeline(file.name, jetbrains=jetbrains) + file.read_text(encoding="utf-8")
        for file in _folder("templates", template).iterdir()
        if file.name.endswith((".yaml", ".py", ".csv"))
    }
    schemas = {
        path: _folder("schemas", path.rpartition("/")[2]).read_text(encoding="utf-8")
        for path in SCHEMAS.values()
    }
    return {
        **dict(sorted(texts.items())),
        "pyproject.toml": PYPROJECT,
        **schemas,
        ".pgflow/.gitignore": "*\n",
    }


def has_settings(folder: Path) -> bool:
    """Return true if the pyproject.toml of a folder has a `[tool.pgflow-yaml]` table."""
    text = (folder / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    return "[tool.pgflow-yaml" in text


def write(folder: Path, template: str, *, jetbrains: bool) -> tuple[list[str], list[str]]:
    """Write the files that do not exist yet; return the names of the written and the kept ones."""
    written, kept = [], []
    for name, text in files(template, jetbrains=jetbrains).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            kept.append(name)
        else:
            written.append(name)
    return written, kept


def _modeline(name: str, *, jetbrains: bool) -> str:
    """Return the comment by which an editor finds the schema of a file."""
    schema = next((path for end, path in SCHEMAS.items() if name.endswith(end)), None)
    if schema is None:
        return ""
    return (JETBRAINS_MODELINE if jetbrains else MODELINE).format(schema)


def _folder(*names: str) -> Traversable:
    return package_files("pgflow_yaml").joinpath(*names)
