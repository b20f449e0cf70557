"""Parse `${{ expression }}` in the texts of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.language.expressions.findings import (
    Comparison,
    Finding,
    InvalidExpression,
    Reference,
)
from pgflow_yaml.language.expressions.parser import Expression, parse_text

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

OPEN, CLOSE, ESCAPED = "${{", "}}", "$${{"


def unescape(text: str) -> str:
    """Replace `$${{` by a literal `${{`."""
    return text.replace(ESCAPED, OPEN)


def parse_expression(text: str, *, roots: frozenset[str]) -> Expression:
    """Parse an expression, which may stand inside one `${{ }}`; raises InvalidExpression."""
    stripped = text.strip()
    start, end = 0, len(text)
    if stripped.startswith(OPEN):
        start = text.index(OPEN)
        close = _closing(text, start + len(OPEN))
        if close is None:
            raise InvalidExpression([_not_closed(start)])
        if text[close + len(CLOSE) :].strip():
            message = "only one `${{ }}` can stand here, with nothing around it"
            raise InvalidExpression(
                [Finding(close + 2, len(text), "PF219", message, "leave out the `${{ }}`")]
            )
        start, end = start + len(OPEN), close
        if not text[start:end].strip():
            raise InvalidExpression([_empty(start - len(OPEN), end + len(CLOSE))])
    parsed = parse_text(text[start:end], roots=roots, offset=start)
    if parsed.findings:
        raise InvalidExpression(parsed.findings, parsed.references)
    return Expression(text, parsed.ast, tuple(parsed.references), tuple(parsed.comparisons))


def parse_template(text: str, *, roots: frozenset[str]) -> Expression | None:
    """Parse a text with `${{ }}` in it; None if it has none (the caller then unescapes it).

    A text that is one `${{ }}` keeps the type of its value; otherwise the parts are joined. Raises
    InvalidExpression.
    """
    parts: list[Json] = []
    findings: list[Finding] = []
    references: list[Reference] = []
    comparisons: list[Comparison] = []
    position = 0
    has_expression = False
    while (start := _opening(text, position)) is not None:
        has_expression = True
        if start > position:
            parts.append(["lit", unescape(text[position:start])])
        close = _closing(text, start + len(OPEN))
        if close is None:
            findings.append(_not_closed(start))
            position = len(text)
            break
        inner = start + len(OPEN)
        if not text[inner:close].strip():
            findings.append(_empty(start, close + len(CLOSE)))
            position = close + len(CLOSE)
            continue
        parsed = parse_text(text[inner:close], roots=roots, offset=inner)
        parts.append(parsed.ast)
        findings += parsed.findings
        references += parsed.references
        comparisons += parsed.comparisons
        position = close + len(CLOSE)
    if not has_expression:
        return None
    if findings:
        raise InvalidExpression(findings, references)
    if position < len(text):
        parts.append(["lit", unescape(text[position:])])
    ast: Json = parts[0] if len(parts) == 1 else ["text", *parts]
    return Expression(text, ast, tuple(references), tuple(comparisons))


def _empty(start: int, end: int) -> Finding:
    return Finding(start, end, "PF219", "the expression is empty", "write one: input.name")


def _not_closed(start: int) -> Finding:
    return Finding(
        start,
        start + len(OPEN),
        "PF222",
        "`${{` is never closed",
        "end it with `}}`; write `$${{` for the three characters",
    )


def _opening(text: str, position: int) -> int | None:
    while (start := text.find(OPEN, position)) >= 0:
        if start == 0 or text[start - 1] != "$":
            return start
        position = start + len(OPEN)
    return None


def _closing(text: str, start: int) -> int | None:
    """Return the index of the `}}` that ends an expression: the first outside texts and brackets.

    Where quotes or brackets do not match, it is the first `}}`, so that the mistake is reported.
    """
    depth = 0
    position = start
    while position < len(text):
        character = text[position]
        if character in "\"'":
            position = _end_of_text(text, position)
            continue
        if depth == 0 and text.startswith(CLOSE, position):
            return position
        depth += (character in "([{") - (character in ")]}" and depth > 0)
        position += 1
    first = text.find(CLOSE, start)
    return None if first < 0 else first


def _end_of_text(text: str, position: int) -> int:
    quote = text[position]
    position += 1
    while position < len(text) and text[position] != quote:
        position += 2 if text[position] == "\\" else 1
    return position + 1
