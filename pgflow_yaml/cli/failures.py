"""Conversion of an exception to a sentence on stderr (or JSON on stdout) and an exit code."""

from __future__ import annotations

import json
import sys
import traceback
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml import errors
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.text import clean, error_sentence, for_people, mask_passwords, one_line

from .streams import result_stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .options import Options

BAD, USAGE, ENVIRONMENT, BUG, TIMEOUT, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 4, 124, 130, 141
ISSUES = "a bug in pgflow-yaml; repeat the command with --debug and report what it prints"


class RefusedInput(errors.InvalidFlow):
    """The input of a run has mistakes; `file` and `source` are where it was written."""


_KINDS: Mapping[type[BaseException], tuple[str, int]] = {
    RefusedInput: ("invalid_input", BAD),
    errors.InvalidFlow: ("invalid_flow", BAD),
    errors.InvalidInput: ("invalid_input", BAD),
    errors.RunFailed: ("run_failed", BAD),
    errors.RunCancelled: ("run_cancelled", BAD),
    errors.WrongSetting: ("usage", USAGE),
    errors.NotFound: ("not_found", USAGE),
    errors.SchemaMismatch: ("schema_mismatch", ENVIRONMENT),
    errors.Unavailable: ("unavailable", ENVIRONMENT),
    errors.PgflowError: ("refused", BAD),
    click.UsageError: ("usage", USAGE),
    click.ClickException: ("usage", USAGE),
    OSError: ("environment", ENVIRONMENT),
}


def kind_of(error: BaseException) -> tuple[str, int]:
    """Return the name of an error for `--json`, and its exit code."""
    for cls in type(error).__mro__:
        if cls in _KINDS:
            return _KINDS[cls]
    return ("bug", BUG)


def report(error: BaseException, options: Options) -> int:
    """Write an error and return the exit code."""
    code, exit_code = kind_of(error)
    if options.debug:
        sys.stderr.write(mask_passwords(clean("".join(traceback.format_exception(error)))))
    if options.json:
        shown = {
            "code": code,
            "message": for_people(sentence(error)),
            "diagnostics": _diagnostics(error),
        }
        result_stream().write(json.dumps({"error": shown}) + "\n")
        return exit_code
    if isinstance(error, errors.InvalidFlow):
        from . import diagnostics

        if diagnostics.in_github():
            diagnostics.write_github(diagnostics.of_error(error), sys.stderr)
        else:
            where = "the input" if isinstance(error, RefusedInput) else None
            diagnostics.write_text(diagnostics.of_error(error), options, where=where)
        return exit_code
    sys.stderr.write(_fitted(f"pgflow-yaml: {for_people(sentence(error))}") + "\n")
    return exit_code


def report_unwritten(error: OSError, *, done: bool) -> int:
    """Write that stdout could not be written, and return the exit code."""
    rest = "; the command has done its work" if done else ""
    reason = error.strerror or str(error)
    sys.stderr.write(_fitted(f"pgflow-yaml: stdout cannot be written: {reason}{rest}") + "\n")
    return ENVIRONMENT


def _fitted(text: str) -> str:
    """Wrap a sentence to the width of the terminal; a pipe gets one line."""
    if not sys.stderr.isatty():
        return text
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def sentence(error: BaseException) -> str:
    """Return an error on one line."""
    if isinstance(error, errors.PgflowError):
        return error_sentence(error)
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return one_line(f"the system refused: {error.strerror or error}{where}")
    return one_line(f"{type(error).__name__}: {error}") + f": {ISSUES}"


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        near = did_you_mean(error.option_name, list(error.possibilities or ()))
        message = f'there is no option "{error.option_name}"{near}'
    context = error.ctx if isinstance(error, click.UsageError) else None
    where = context.command_path if context else "pgflow-yaml"
    return one_line(f"{message[:1].lower()}{message[1:].rstrip('.')} (see {where} --help)")


def _diagnostics(error: BaseException) -> list[dict[str, Any]]:
    if isinstance(error, errors.InvalidFlow):
        from .diagnostics import diagnostic_shape, of_error

        return [
            {"file": file.file, **diagnostic_shape(finding)}
            for file in of_error(error)
            for finding in file.diagnostics
        ]
    if isinstance(error, errors.InvalidInput):
        return [dict(problem) for problem in error.problems]
    return []
