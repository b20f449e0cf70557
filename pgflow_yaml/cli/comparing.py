"""Two versions of a flow, wherever they are: in a file, in git, in the database."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.differences import Change, diff
from pgflow_yaml.language.model import Definition
from pgflow_yaml.project import files, git
from pgflow_yaml.text import cells, one_line, plural, wrapped

from . import lookup
from .flow_files.deploying import require_valid
from .flow_files.loading import Loaded, is_file, load
from .output import write_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgflow_yaml.database.store import Store

    from .options import Options

_MARKS = {
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "renamed": ("~", "yellow"),
    "changed": ("~", "yellow"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A version and where it was found."""

    name: str
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two versions."""

    flow: str
    before: Named
    after: Named
    changes: Sequence[Change]

    def shape(self) -> dict[str, Any]:
        """Make the JSON; its field names are API."""
        return {
            "flow": self.flow,
            "from": {"name": self.before.name, "version": self.before.version},
            "to": {"name": self.after.name, "version": self.after.version},
            "same": not self.changes,
            "changes": [change_shape(change) for change in self.changes],
        }


def change_shape(change: Change) -> dict[str, Any]:
    """Make the JSON of one change."""
    return {
        "kind": change.kind,
        "path": change.path,
        "before": change.before,
        "after": change.after,
        "text": change.text,
    }


def read(file: str, options: Options) -> Definition:
    """Read a valid flow file; raises InvalidFlows."""
    (definition,) = require_valid(load([file]), options)
    return definition


def flow_of(text: str, options: Options) -> str:
    """Take the name of a file's flow; a text that is no file is the name itself."""
    return read(text, options).name if is_file(text) else text


def with_revision(file: str, revision: str, options: Options) -> Comparison:
    """Compare a file with what it was at a git revision."""
    new = read(file, options)
    path = Path(file)
    old_name = f"{file} at {revision}"
    old = _compiled(git.at_revision(path, revision), old_name, options)
    return _comparison(old, new, (revision, file))


def with_active(store: Store, new: Definition, file: str) -> Comparison:
    """Compare a file with the active version of its flow; there may be none yet."""
    found = store.get_definition(new.name)
    if found is None:
        steps = plural(len(new.order), "step")
        text = f"flow {new.name}: new, {steps}; no version of it is active"
        change = Change(kind="added", path="", text=text, label=f"flow {new.name}")
        before = Named(name="the active version", version=None)
        after = Named(name=file, version=new.version)
        return Comparison(flow=new.name, before=before, after=after, changes=[change])
    return _comparison(stored(found), new, ("the active version", file))


def of_versions(store: Store, flow: str, between: tuple[str, str]) -> Comparison:
    """Compare two stored versions of a flow."""
    sides = []
    for text in between:
        found = store.get_definition(flow, lookup.version(store, flow, text))
        if found is None:
            raise AssertionError("a version that is listed is stored")
        sides.append(stored(found))
    old, new = sides
    return _comparison(old, new, (f"version {old.version}", f"version {new.version}"))


def stored(found: Mapping[str, Any]) -> Definition:
    """Make a definition of what the database holds."""
    return Definition(
        name=found["name"],
        version=found["version"],
        body=found["definition"],
        order=tuple(found["order"] or ()),
        description=None,
        source=found["source"] or "",
    )


def write(found: Comparison, options: Options) -> None:
    """Write the changes on stdout, one a line; long ones on three."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if not found.changes:
        said = f"no difference: {found.after.name} is {_said(found.before)}"
        write_lines(([(line, "")] for line in wrapped(one_line(said), width)), sys.stdout, options)
        return
    changes = plural(len(found.changes), "change")
    sides = f"from {_named(found.before)} to {_named(found.after)}"
    head = one_line(f"{found.flow}: {changes} {sides}")
    lines = [[(line, "bold")] for line in wrapped(head, width)]
    lines += [line for change in found.changes for line in change_lines(change, width)]
    write_lines(lines, sys.stdout, options)


def change_lines(change: Change, width: int) -> Iterator[list[tuple[str, str]]]:
    """Say one change; what is too wide for a terminal is laid below each other."""
    mark, color = _MARKS[change.kind]
    text = one_line(change.text)
    fits = not width or cells(text) + 4 <= width
    if fits or change.before is None or change.after is None:
        for number, line in enumerate(wrapped(text, width and width - 4)):
            yield [("    " if number else f"  {mark} ", color), (line, "")]
        return
    for number, line in enumerate(wrapped(one_line(change.label), width - 4)):
        yield [("    " if number else f"  {mark} ", color), (line, "")]
    for sign, value, paint in (("-", change.before, "red"), ("+", change.after, "green")):
        first, *rest = wrapped(one_line(value), width - 8)
        yield [(f"      {sign} ", paint), (first, "")]
        yield from ([(" " * 8 + line, "")] for line in rest)


def _named(side: Named) -> str:
    known = side.version is None or side.version in side.name
    return side.name if known else f"{side.name} ({side.version})"


def _said(side: Named) -> str:
    return f"the same version as {side.name}, {side.version}"


def _comparison(old: Definition, new: Definition, names: tuple[str, str]) -> Comparison:
    return Comparison(
        flow=new.name,
        before=Named(name=names[0], version=old.version),
        after=Named(name=names[1], version=new.version),
        changes=diff(old, new),
    )


def _compiled(content: bytes, name: str, options: Options) -> Definition:
    from pgflow_yaml.language.compiler import compile_flow
    from pgflow_yaml.language.validation import check

    checked = check(content, file=name, schema=files.schema())
    flow = checked.flow
    loaded = Loaded(
        file=name,
        source=checked.source,
        # What was warned of then is of no use now.
        diagnostics=checked.errors,
        definition=compile_flow(flow, source=checked.source) if flow else None,
    )
    (definition,) = require_valid([loaded], options)
    return definition
