"""The flow files of a project: read, checked, compiled; and the schemas that the package ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import NotFound
from pgflow_yaml.language.suggestions import did_you_mean

if TYPE_CHECKING:
    from pgflow_yaml.errors import Diagnostic
    from pgflow_yaml.language.model import Definition


def load(path: str | Path) -> Definition:
    """Read, check and compile a flow file; raises InvalidFlow with every mistake in it."""
    from pgflow_yaml.language.compiler import compile_flow
    from pgflow_yaml.language.validation import check as check_content

    checked = check_content(read(path), file=str(path), schema=schema())
    return compile_flow(checked.require(), source=checked.source)


def check(path: str | Path) -> list[Diagnostic]:
    """Every finding in a flow file; none means that it is valid."""
    from pgflow_yaml.language.validation import check as check_content

    return list(check_content(read(path), file=str(path), schema=schema()).diagnostics)


def read(path: str | Path) -> bytes:
    """The content of a file; raises NotFound."""
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near = [other.name for other in path.parent.glob("*.y*ml")]
        hint = did_you_mean(path.name, near)
        raise NotFound(f'there is no file "{path}"{hint}', suggestions=near[:5]) from None
    except OSError as error:
        raise NotFound(f'"{path}" cannot be read: {error.strerror}') from error


def schema() -> dict[str, Any]:
    """The JSON Schema of flow files."""
    found: dict[str, Any] = json.loads(schema_text())
    return found


def schema_text(kind: str = "workflow") -> str:
    """The JSON Schema of flow files, as it is shipped; of `test` files when they are asked for."""
    from importlib.resources import files

    return (files("pgflow_yaml") / "schemas" / f"{kind}.schema.json").read_text("utf-8")
