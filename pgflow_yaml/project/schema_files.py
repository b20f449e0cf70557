"""The schema files of a project: each is that of this release, and each comment finds one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.errors import NotFound
from pgflow_yaml.project.files import read, schema_text, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KINDS = ("workflow", "test")
_COMMENT = re.compile(r"(?m)^# *(?:yaml-language-server: *\$schema=|\$schema: *)(\S+)")


def check(paths: Sequence[str]) -> dict[str, str | None]:
    """Return what is wrong with each schema file and each comment that names one, or None.

    Of a folder, it checks the schema files and the YAML files below. Raises NotFound where a
    file is missing, or where there is no schema file.
    """
    found = dict(problem for path in paths for problem in _of(Path(path)))
    if not any(file.endswith(".json") for file in found):
        message = "there is no schema file here; pgflow-yaml schema -o schemas/workflow.schema.json"
        raise NotFound(f"{message} writes one")
    return found


def _of(path: Path) -> Iterator[tuple[str, str | None]]:
    if not path.is_dir():
        if path.suffix != ".json":
            read(path)
            raise NotFound(f'"{path}" is not a schema file; name one, or a folder')
        yield str(path), _of_schema(path)
        return
    for file in walk(path, tuple(f"{kind}.schema.json" for kind in KINDS)):
        if f'"pgflow-yaml {_title(file)}' in _text(file):
            yield str(file), _of_schema(file)
    for file in walk(path, (".yaml", ".yml")):
        named = _COMMENT.search(_text(file))
        if named is not None and "://" not in named[1]:
            yield str(file), _of_comment(file, named[1])


def _title(file: Path) -> str:
    return "tests of a flow" if _kind(file) == "test" else "workflow"


def _kind(file: Path) -> str:
    return "test" if file.name.endswith("test.schema.json") else "workflow"


def _text(file: Path) -> str:
    return read(file).decode("utf-8", errors="replace")


def _of_schema(file: Path) -> str | None:
    kind = _kind(file)
    if _text(file) == schema_text(kind):
        return None
    option = " --tests" if kind == "test" else ""
    return f"not the schema of this release; write it: pgflow-yaml schema{option} -o {file}"


def _of_comment(file: Path, schema: str) -> str | None:
    if (file.parent / schema).is_file():
        return None
    return f'its comment names "{schema}", which is not there; commit the schema, or correct it'
