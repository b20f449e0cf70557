"""Comparison of two versions of a flow, each from a file, from git or from the database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.language.differences import Change, diff
from pgflow_yaml.language.validation.children import children_of
from pgflow_yaml.project import files, git
from pgflow_yaml.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.model import Definition, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison: the version, and its name for a reader."""

    name: str
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Differences between two versions of a flow."""

    flow: str
    before: Side
    after: Side
    changes: Sequence[Change]

    def as_json(self) -> dict[str, Json]:
        """Return the JSON that `diff` prints."""
        return {
            "flow": self.flow,
            "from": {"name": self.before.name, "version": self.before.version},
            "to": {"name": self.after.name, "version": self.after.version},
            "same": not self.changes,
            "changes": [change_json(change) for change in self.changes],
        }


def headline(comparison: Comparison) -> str:
    """Return how many differences there are, and between what; or that there is none."""
    before, after = comparison.before, comparison.after
    if not comparison.changes:
        same = f"the same version as {before.name}, {before.version}"
        return f"no difference: {after.name} is {same}"
    changes = plural(len(comparison.changes), "change")
    return f"{comparison.flow}: {changes} from {_named(before)} to {_named(after)}"


def _named(side: Side) -> str:
    known = side.version is None or side.version in side.name
    return side.name if known else f"{side.name} ({side.version})"


def change_json(change: Change) -> dict[str, Json]:
    """Return the JSON of one change."""
    return {
        "kind": change.kind,
        "path": change.path,
        "before": change.before,
        "after": change.after,
        "text": change.text,
    }


def compare(old: Definition, new: Definition, *, names: tuple[str, str]) -> Comparison:
    """Compare two definitions; `names` are the names of their sides for a reader."""
    old, new = _with_inner(old), _with_inner(new)
    return Comparison(
        flow=new.name,
        before=Side(name=names[0], version=old.version),
        after=Side(name=names[1], version=new.version),
        changes=diff(old, new),
    )


def _with_inner(stored: Definition) -> Definition:
    """Return a definition with the flows in its steps; a stored one has them in its text alone."""
    if stored.inner or not any("@" in child for child in children_of(stored.body)):
        return stored
    written = files.compile_content(stored.source.encode(), file=stored.name).definition
    if written is None or written.version != stored.version:
        return stored
    return replace(stored, inner=written.inner)


def compare_with_revision(new: Definition, file: str, revision: str) -> Comparison:
    """Compare a file with its content at a git revision; raises NotFound, InvalidFlow."""
    content = git.at_revision(Path(file), revision)
    old = files.compile_content(content, file=f"{file} at {revision}")
    # Warnings about an old revision are left out: nobody can fix them.
    errors = [finding for finding in old.diagnostics if finding.severity == "error"]
    return compare(replace(old, diagnostics=errors).require(), new, names=(revision, file))


def compare_with_active(new: Definition, active: Definition | None, file: str) -> Comparison:
    """Compare a file with the active version of its flow, if there is one."""
    if active is not None:
        return compare(active, new, names=("the active version", file))
    steps = plural(len(new.order), "step")
    text = f"flow {new.name}: new, {steps}; no version of it is active"
    return Comparison(
        flow=new.name,
        before=Side(name="the active version", version=None),
        after=Side(name=file, version=new.version),
        changes=[Change(kind="added", path="", text=text, label=f"flow {new.name}")],
    )


def compare_versions(old: Definition, new: Definition) -> Comparison:
    """Compare two stored versions of a flow."""
    return compare(old, new, names=(f"version {old.version}", f"version {new.version}"))
