"""The files that `init` writes: a flow of ten lines, its handlers, and what an editor needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_FILE = ".pgflow/workflow.schema.json"
MODELINE = f"# yaml-language-server: $schema=./{SCHEMA_FILE}\n"
JETBRAINS_MODELINE = f"# $schema: ./{SCHEMA_FILE}\n"

FLOW = """flow: hello
input:
  name: {type: string, default: world}
steps:
  greet:
    handler: hello_handlers.greet
    with: {name: "${{ input.name }}"}
  shout:
    handler: hello_handlers.shout     # receives {"greet": ...}
    depends_on: [greet]
"""

HANDLERS = '''"""The functions of hello.flow.yaml: plain Python, no import of pgflow-yaml."""


def greet(name: str) -> str:
    """Called with what the step says under `with`."""
    return f"Hello, {name}!"


def shout(outputs: dict) -> str:
    """Called with the outputs of the steps it depends on."""
    return outputs["greet"].upper()
'''

PYPROJECT = """[tool.pgflow-yaml]
# Modules in this folder may be handlers. Others are named here, by package:
# allow = ["shop"]
"""

NEXT = ("validate hello.flow.yaml", "run hello.flow.yaml --input name=Ada", "show last")


def files(*, jetbrains: bool) -> dict[str, str]:
    """Name each file and its text."""
    from importlib.resources import files as package_files

    schema = package_files("pgflow_yaml").joinpath("schemas/workflow.schema.json")
    return {
        "hello.flow.yaml": (JETBRAINS_MODELINE if jetbrains else MODELINE) + FLOW,
        "hello_handlers.py": HANDLERS,
        "pyproject.toml": PYPROJECT,
        SCHEMA_FILE: schema.read_text(encoding="utf-8"),
        ".pgflow/.gitignore": "*\n",
    }


def has_settings(folder: Path) -> bool:
    """Tell whether the project's own pyproject.toml speaks of us already."""
    text = (folder / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    return "[tool.pgflow-yaml" in text


def write(folder: Path, *, jetbrains: bool) -> tuple[list[str], list[str]]:
    """Write the files that are not there yet; return what was written and what was kept."""
    written, kept = [], []
    for name, text in files(jetbrains=jetbrains).items():
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
