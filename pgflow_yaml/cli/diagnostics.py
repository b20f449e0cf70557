"""Findings in three formats: frames for people, annotations for CI, JSON."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

import click

from pgflow_yaml.cli.live.symbols import symbols_for
from pgflow_yaml.project.files import FlowFile
from pgflow_yaml.project.flow_set import FlowSet, InvalidFlows
from pgflow_yaml.text import one_line, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgflow_yaml.cli.options import Options
    from pgflow_yaml.errors import Diagnostic, InvalidFlow, Replacement, Span
    from pgflow_yaml.language.model import Definition

SHOWN_PER_FILE = 20
_CARETS = re.compile(r"^( *[│|] +)(\^+)(.*)$")
_HELP = re.compile(r"^( *)(= help:)(.*)$")
_HEAD = re.compile(r"^(?P<place>.+?): (?P<kind>(?:error|warning)\[\w+\]): (?P<rest>.*)$")


def of_error(error: InvalidFlow) -> Sequence[FlowFile]:
    """Return the files of an exception with their findings."""
    if isinstance(error, InvalidFlows):
        return error.files
    return [
        FlowFile(
            file=error.file, source=error.source, diagnostics=error.diagnostics, definition=None
        )
    ]


def valid_definitions(flows: FlowSet, options: Options) -> list[Definition]:
    """Return the definitions, and show the warnings; raises InvalidFlows if a file has an error."""
    definitions = flows.require()
    if any(file.diagnostics for file in flows.files) and not options.quiet:
        write_text(flows.files, options)
    return definitions


def valid_definition(file: str, options: Options) -> Definition:
    """Return the definition of one file; raises InvalidFlows."""
    (definition,) = valid_definitions(FlowSet.load([file]), options)
    return definition


def write_text(files: Sequence[FlowFile], options: Options, *, where: str | None = None) -> None:
    """Write a frame for each finding to stderr, and a line with their total number."""
    symbols = symbols_for(sys.stderr.encoding)
    for checked in files:
        for finding in checked.diagnostics[:SHOWN_PER_FILE]:
            sys.stderr.write(frame(finding, checked, sys.stderr, options=options) + "\n\n")
        more = len(checked.diagnostics) - SHOWN_PER_FILE
        if more > 0:
            sys.stderr.write(f"{one_line(checked.file)}: {symbols.ellipsis} and {more:,} more\n\n")
    hint = f" {symbols.dot} pgflow-yaml explain {_first_code(files)}" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{_summary(files, where)}{hint}\n")


def frame(finding: Diagnostic, checked: FlowFile, stream: TextIO, *, options: Options) -> str:
    """Return the frame of one finding, with the width and characters that fit a stream."""
    from pgflow_yaml.language.frames import render

    width = shutil.get_terminal_size().columns if stream.isatty() else 100
    symbols = symbols_for(stream.encoding)
    text = render(finding, file=checked.file, source=checked.source, width=width)
    text = text.replace("│", symbols.rule).replace("…", symbols.ellipsis)
    return _painted(text, finding) if options.colored(stream) else text


def error_frame(file: str, source: str, step: str | None, message: str, *, flow: str) -> list[str]:
    """Return the frame of an expression that failed in a run; empty if its position is unknown."""
    from pgflow_yaml.language.frames import render
    from pgflow_yaml.language.validation import error_finding

    finding = error_finding(source, flow=flow, step=step, message=message)
    if finding is None:
        return []
    symbols = symbols_for(sys.stderr.encoding)
    return render(finding, file=file, source=source).replace("│", symbols.rule).split("\n")


def write_github(files: Iterable[FlowFile], stream: IO[str]) -> None:
    """Write annotations, which GitHub Actions reads from stdout and stderr."""
    for checked in files:
        for finding in checked.diagnostics:
            stream.write(_annotation(_in_repository(checked.file), finding) + "\n")


def _in_repository(file: str) -> str:
    """Return the path of a file from the root of its repository, as GitHub needs it."""
    real = Path(file).absolute()
    root = next((folder for folder in real.parents if (folder / ".git").exists()), None)
    return file if root is None else os.path.relpath(real, root)


def in_github() -> bool:
    """Return true if this process runs in GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def shape(checked: FlowFile) -> dict[str, Any]:
    """Return the JSON of one file."""
    return {
        "file": checked.file,
        "flow": checked.definition.name if checked.definition else None,
        "version": checked.definition.version if checked.definition else None,
        "diagnostics": [diagnostic_shape(finding) for finding in checked.diagnostics],
        "allow": checked.needed,
    }


def diagnostic_shape(finding: Diagnostic) -> dict[str, Any]:
    """Return the JSON of one finding; its field names are API."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        **_span_shape(finding.span),
        "help": finding.help,
        "replacement": None if finding.replacement is None else _replacement(finding.replacement),
    }


def _replacement(replacement: Replacement) -> dict[str, Any]:
    return {**_span_shape(replacement.span), "text": replacement.text}


def _span_shape(span: Span | None) -> dict[str, int | None]:
    return {
        "line": span.line if span else None,
        "column": span.column if span else None,
        "end_line": span.end_line if span else None,
        "end_column": span.end_column if span else None,
    }


def _first_code(files: Sequence[FlowFile]) -> str:
    """Return the code for the hint: of the first error, else of the first finding."""
    findings = [finding for checked in files for finding in checked.diagnostics]
    return min(findings, key=lambda finding: finding.severity != "error").code


def _summary(files: Sequence[FlowFile], where: str | None) -> str:
    errors = sum(checked.errors for checked in files)
    warnings = sum(len(checked.diagnostics) for checked in files) - errors
    bad = sum(bool(checked.diagnostics) for checked in files)
    counts = [plural(errors, "error")] if errors else []
    counts += [plural(warnings, "warning")] if warnings else []
    return f"{' and '.join(counts)} in {where or plural(bad, 'file')}"


def _annotation(file: str, finding: Diagnostic) -> str:
    properties = {"file": file, "title": finding.code}
    if finding.span:
        properties |= {"line": str(finding.span.line), "col": str(finding.span.column)}
        if finding.span.end_line == finding.span.line:
            properties["endColumn"] = str(finding.span.end_column)
    listed = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in properties.items())
    text = finding.message + (f"\nhelp: {finding.help}" if finding.help else "")
    return f"::{finding.severity} {listed}::{_escaped(text)}"


def _escaped(text: str, others: str = "") -> str:
    return "".join(
        f"%{ord(char):02X}" if char in "%\r\n" or char in others else char for char in text
    )


def _painted(frame: str, finding: Diagnostic) -> str:
    color = "red" if finding.severity == "error" else "yellow"
    return "\n".join(_painted_lines(frame.split("\n"), color))


def _painted_lines(lines: Sequence[str], color: str) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == 0 and (head := _HEAD.match(line)):
            kind = click.style(head["kind"], fg=color, bold=True)
            yield f"{click.style(head['place'], bold=True)}: {kind}: {head['rest']}"
        elif match := _CARETS.match(line):
            yield match[1] + click.style(match[2] + match[3], fg=color, bold=True)
        elif match := _HELP.match(line):
            yield match[1] + click.style(match[2], fg="cyan") + match[3]
        else:
            yield line
