"""What is wrong with an expression: a finding with its place, and the two exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.model import Json


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake: offsets count code points of the given text, the end is exclusive."""

    start: int
    end: int
    code: str
    message: str
    help: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A path of the environment and where the text names it."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two trees that the text compares by an operator, and where it does."""

    symbol: str
    left: Json
    right: Json
    start: int
    end: int


class InvalidExpression(Exception):
    """The text is no expression of the language; `findings` has every mistake, in order."""

    def __init__(self, findings: Sequence[Finding], references: Sequence[Reference] = ()) -> None:
        """`references` are the paths that could be read all the same, for further checks."""
        self.findings = sorted(findings, key=lambda finding: (finding.start, finding.end))
        self.references = tuple(references)
        super().__init__("; ".join(finding.message for finding in self.findings))


class ExpressionError(Exception):
    """An expression has no value: the message says why in one sentence."""
