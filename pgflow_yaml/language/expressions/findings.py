"""Findings about the text of an expression, and the two exceptions of the language."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.model import Json


class Edit(NamedTuple):
    """Fix as data: the text to write over a range of the parsed text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake: offsets count code points of the parsed text, the end is exclusive."""

    start: int
    end: int
    code: str
    message: str
    help: str
    edit: Edit | None = None

    def moved(self, offset: int) -> Finding:
        """Return the finding in a text that has `offset` more characters before it."""
        edit = self.edit
        if edit is not None:
            edit = Edit(edit.start + offset, edit.end + offset, edit.text)
        return replace(self, start=self.start + offset, end=self.end + offset, edit=edit)


@dataclass(frozen=True, slots=True)
class Reference:
    """Path of the environment, with its offsets in the text.

    One that is not `read` as a path is only checked: `input["order-id"]` reads `input`.
    """

    path: str
    start: int
    end: int
    read: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of two trees by an operator, with its offsets in the text."""

    symbol: str
    left: Json
    right: Json
    start: int
    end: int


class InvalidExpression(Exception):
    """The text is not an expression of the language; `findings` has every mistake, in order."""

    def __init__(self, findings: Sequence[Finding], references: Sequence[Reference] = ()) -> None:
        """Store the findings, and the paths that could still be read, for further checks."""
        self.findings = sorted(findings, key=lambda finding: (finding.start, finding.end))
        self.references = tuple(references)
        super().__init__("; ".join(finding.message for finding in self.findings))


class ExpressionError(Exception):
    """An expression has no value: the message says why in one sentence."""
