"""Diagnostics for YAML syntax errors, in words that name the mistake and its fix.

The parser stops where it notices an error, often behind the mistake. Therefore the line is first
checked for the known traps of an expression in YAML; only then is the parser's message translated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Diagnostic, Replacement, Span
from pgflow_yaml.language.source.scalars import quote

if TYPE_CHECKING:
    import yaml

    from pgflow_yaml.language.positions import Lines

_INDENTED_BY_TAB = re.compile(r" *(\t+)")
_EXPRESSION_KEY = re.compile(r"^\s*(?:- )?(if|map|until|for)\s*:\s+")
_TEMPLATE = re.compile(r"\$\{\{.*?\}\}|\$\{\{[^}\n]*")

# What stands before a value: in braces, and in a block.
_STARTS_IN_BRACES = re.compile(r"[{\[,]\s*|:\s+")
_STARTS = re.compile(r"^\s*(?:- +)*|[\w.\"'-]:\s+")

_NEGATED = re.compile(r"[\s{\[,](!(?:input|steps|item|index|run)\b[\w.]*)")

# Beginning of the parser's message → our message, our fix.
_PHRASES: tuple[tuple[str, str, str], ...] = (
    (
        "mapping values are not allowed",
        "a `: ` cannot stand here",
        "put the value in quotes, or check the indentation of this line",
    ),
    (
        "block sequence entries are not allowed",
        "a list with `- ` cannot begin on this line",
        "begin it on the next line, indented, or write it as [a, b]",
    ),
    (
        "exceeded maximum nesting depth",
        "values are nested deeper than 64 levels here",
        "flatten the structure",
    ),
    (
        "could not find expected ':'",
        "this key has no `:` behind it",
        "write `key: value`; a text over several lines needs quotes or `|`",
    ),
    (
        "found unknown escape character",
        "this backslash escape does not exist in double quotes",
        "write `\\\\` for a backslash, or use single quotes",
    ),
    (
        "did not find expected hexdecimal number",
        "this backslash escape needs more hexadecimal digits",
        "write \\xHH or \\uHHHH",
    ),
    (
        "did not find expected '-' indicator",
        "this line is not an item of the list above it",
        "begin it with `- `, or correct its indentation",
    ),
    (
        "did not find expected <document start>",
        "something follows after the end of the document",
        "remove it, or close every bracket and quote above it",
    ),
    (
        "did not find expected node content",
        "a value is missing here",
        'write one, or put a text that begins with this character in quotes: ","',
    ),
    (
        "did not find expected key",
        "this does not fit the mapping around it",
        "align it with the keys above; quote the whole value if it begins with a quote or bracket",
    ),
)


def explain(error: yaml.MarkedYAMLError, *, text: str, lines: Lines) -> Diagnostic:
    """Return the diagnostic for a syntax error of the parser."""
    at = min(error.problem_mark.index if error.problem_mark else 0, len(text))
    number, _ = lines.position(at)
    while number > 1 and not lines.line(number).strip():
        number -= 1
    tab = _INDENTED_BY_TAB.match(lines.line(number))
    if tab is not None:
        start = lines.starts[number - 1]
        return Diagnostic(
            code="PF010",
            message="a tab cannot be used for indentation",
            span=lines.span(start + tab.start(1), start + tab.end(1)),
            help="indent with spaces",
        )
    trap = _trap(lines, number)
    if trap is not None:
        return trap
    problem = error.problem or "it is broken"
    opened = error.context_mark.index if error.context_mark else None
    unclosed = _unclosed(problem, text=text, lines=lines, opened=opened)
    if unclosed is not None:
        return unclosed
    character = text[at : at + 1]
    span = lines.span(at, at + 1) if character.strip() else _line_end(lines, number)
    if "cannot start any token" in problem:
        return _first_character(character, span)
    for begin, message, fix in _PHRASES:
        if problem.startswith(begin):
            code = "PF012" if "nesting" in begin else "PF010"
            return Diagnostic(code=code, message=message, span=span, help=fix)
    return Diagnostic(
        code="PF010",
        message=f"this is not valid YAML: {problem}",
        span=span,
        help="put the value in quotes if it is a text",
    )


def negation(written: str, span: Span) -> Diagnostic:
    """Return the finding about `!input.done`."""
    write = f"not {written[1:]}"
    return Diagnostic(
        code="PF014",
        message=f"YAML reads `{written}` as a tag, not as an expression",
        span=span,
        help=f"write `{write}`",
        replacement=Replacement(span=span, text=write),
    )


def _trap(lines: Lines, number: int) -> Diagnostic | None:
    """Return the diagnostic for an expression that YAML cannot read unquoted, if there is one."""
    line = lines.line(number)
    start = lines.starts[number - 1]
    key = _EXPRESSION_KEY.match(line)
    if key is not None:
        return _expression_trap(line, lines, start=start, key=key)
    for match in _TEMPLATE.finditer(line):
        before = line[: match.start()]
        if _quoted(before):
            continue
        first, last = _scalar_around(line, match)
        value, place = line[first:last], lines.span(start + first, start + last)
        span = lines.span(start + match.start(), start + match.end())
        if _in_braces(before):
            return Diagnostic(
                code="PF020",
                message="an unquoted `${{ … }}` cannot stand inside { } or [ ]",
                span=span,
                help=f"write {quote(value)}",
                replacement=Replacement(span=place, text=quote(value)),
            )
        if re.search(r":\s| #", match.group()):
            return _needs_quotes(value, place, marked=span)
    negated = _NEGATED.search(line)
    if negated is not None and not _quoted(line[: negated.start(1)]):
        span = lines.span(start + negated.start(1), start + negated.end(1))
        return negation(negated[1], span)
    return _inner_list_trap(line, lines, start)


def _expression_trap(
    line: str, lines: Lines, *, start: int, key: re.Match[str]
) -> Diagnostic | None:
    value = line[key.end() :].rstrip()
    span = lines.span(start + key.end(), start + key.end() + len(value))
    if value[:1] in ('"', "'", "[", "{"):
        return Diagnostic(
            code="PF024",
            message=f"an expression that begins with `{value[0]}` must be quoted as a whole",
            span=span,
            help=f"write {key.group(1)}: {quote(value)}",
            replacement=Replacement(span=span, text=quote(value)),
        )
    if ": " in value or " #" in value:
        return _needs_quotes(value, span)
    return None


def _scalar_around(line: str, template: re.Match[str]) -> tuple[int, int]:
    """Return where the value around an unquoted template begins and ends, as it was meant."""
    before, after = line[: template.start()], line[template.end() :]
    inside = _in_braces(before)
    starts = _STARTS_IN_BRACES if inside else _STARTS
    first = max((match.end() for match in starts.finditer(before)), default=0)
    end = re.search(r"\s*(?:[,\]}]|$)" if inside else r"\s+#|\s*$", after)
    return first, template.end() + (end.start() if end else len(after))


def _needs_quotes(value: str, span: Span, *, marked: Span | None = None) -> Diagnostic:
    delimiter = ": " if ": " in value else " #"
    return Diagnostic(
        code="PF023",
        message=f"an unquoted expression cannot hold `{delimiter}`",
        span=marked or span,
        help=f"write {quote(value)}",
        replacement=Replacement(span=span, text=quote(value)),
    )


def _inner_list_trap(line: str, lines: Lines, start: int) -> Diagnostic | None:
    match = re.search(r"[{,]\s*(if|map|until|for):\s+([^\"'\s{\[][^{}]*)", line)
    if match is None or not re.search(r"[\[\"']", match.group(2)):
        return None
    value = match.group(2).rstrip()
    span = lines.span(start + match.start(2), start + match.start(2) + len(value))
    return Diagnostic(
        code="PF025",
        message="an expression with brackets or commas must be quoted inside { }",
        span=span,
        help=f"write {match.group(1)}: {quote(value)}",
        replacement=Replacement(span=span, text=quote(value)),
    )


def _unclosed(problem: str, *, text: str, lines: Lines, opened: int | None) -> Diagnostic | None:
    """Return the diagnostic at a bracket or quote that is not closed, if that is the error."""
    if opened is None:
        return None
    opener = text[opened : opened + 1]
    if opener not in ("'", '"', "[", "{"):
        return None
    if problem.startswith(("did not find expected ',' or", "found unexpected end of stream")):
        close = {"[": "]", "{": "}"}.get(opener, opener)
        fix = f"close it with {close}"
        if opener in "[{":
            fix += ", separate its entries by commas, and quote values with brackets in them"
        return Diagnostic(
            code="PF010",
            message=f"the {opener} opened here is not closed as it should be",
            span=lines.span(opened, opened + 1),
            help=fix,
        )
    return None


def _first_character(character: str, span: Span) -> Diagnostic:
    if character == "\t":
        fix, message = "indent with spaces", "a tab cannot be used for indentation"
    else:
        message = f"a text cannot begin with `{character}` unless it is quoted"
        fix = "put the value in quotes"
    return Diagnostic(code="PF010", message=message, span=span, help=fix)


def _line_end(lines: Lines, number: int) -> Span:
    line = lines.line(number).rstrip()
    end = lines.starts[number - 1] + len(line)
    return lines.span(max(end - 1, lines.starts[number - 1]), end)


def _quoted(before: str) -> bool:
    """Return True when a quote is open at the end of the text."""
    opener = ""
    for character in before:
        if opener:
            opener = "" if character == opener else opener
        elif character in "\"'":
            opener = character
    return bool(opener)


def _in_braces(before: str) -> bool:
    opened = before.count("{") + before.count("[")
    return opened > before.count("}") + before.count("]")
