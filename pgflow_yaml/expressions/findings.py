"""What is wrong with an expression: its codes, a finding with its place, and the two exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.model import Json

CODES: dict[str, str] = {
    "PF210": "an operator of another language",
    "PF211": "one `=` where `==` is meant",
    "PF212": "a method call",
    "PF213": "an unknown function",
    "PF214": "an unknown name",
    "PF215": "an unknown or incomplete path",
    "PF216": "Python syntax that the language leaves out",
    "PF217": "a bracket without its partner",
    "PF218": "a text that is not closed or not allowed",
    "PF219": "no expression",
    "PF220": "an expression that is too long or nested too deeply",
    "PF221": "a wrong number of arguments",
    "PF222": "a template that is not closed",
    "PF223": "a number that is not allowed",
}


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
