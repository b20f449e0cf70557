"""Exceptions and diagnostics, worded so that a person can act on them.

PgflowError
├── InvalidFlow            a flow file has mistakes; .diagnostics has every one      exit 1
├── InvalidInput           a run input was refused; .problems has path and message   exit 1
├── RunFailed              a run ended as failed; .run, .step, .error                exit 1
├── RunCancelled           a run was cancelled; .run                                 exit 1
├── WrongSetting           an option, variable or project setting is invalid         exit 2
├── NotFound               no such flow, run or step; .suggestions                   exit 2
├── SchemaMismatch         database not migrated, or newer than this release         exit 3
└── Unavailable            database unreachable after bounded tries                  exit 3
PermanentError, RetryLater(delay)      raised by handlers, never by the library
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Range of a text: lines and columns count from 1, in code points; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """The fix of a finding as data: the text to write over a range of the file."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """Finding in a file: a stable code, one sentence, its position, and the fix as `help`."""

    code: str
    message: str
    span: Span | None
    help: str | None = None
    label: str | None = None
    severity: Severity = "error"
    replacement: Replacement | None = None
    """The fix, where it is a text to write; `help` says the same in words."""

    @property
    def position(self) -> tuple[int, int]:
        """Line and column, as a sort key; a finding about the whole file comes first."""
        return (self.span.line, self.span.column) if self.span else (0, 0)


class PgflowError(Exception):
    """Something went wrong in pgflow-yaml."""

    def __init__(self, message: str | None = None) -> None:
        """Store the sentence to show; without one, it is the docstring of the class."""
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class InvalidFlow(PgflowError):
    """The flow file has mistakes."""

    def __init__(self, file: str, source: str, diagnostics: Sequence[Diagnostic]) -> None:
        """Store the text beside the findings, so that a caller can render frames."""
        self.file = file
        self.source = source
        self.diagnostics = tuple(diagnostics)
        super().__init__(_summary(file, self.diagnostics))


class InvalidInput(PgflowError):
    """The run input, or the answer to a form, was refused."""

    def __init__(
        self,
        message: str | None = None,
        *,
        problems: Sequence[Mapping[str, str]] = (),
        subject: str = "the input",
    ) -> None:
        """Store the problems: each has the `path` of its field and a `message`."""
        self.problems = [dict(problem) for problem in problems]
        if message is None and self.problems:
            message = f"{subject} was refused: " + "; ".join(
                f"{problem['path']}: {problem['message']}"
                if problem.get("path")
                else problem["message"]
                for problem in self.problems
            )
        super().__init__(message)


class RunFailed(PgflowError):
    """The run failed."""

    def __init__(
        self,
        message: str | None = None,
        *,
        run: str,
        step: str | None = None,
        error: Mapping[str, object] | None = None,
    ) -> None:
        """Store the run's last unhandled error: {type, message, …}."""
        self.run = run
        self.step = step
        self.error = dict(error or {})
        if message is None:
            in_step = f' in step "{step}"' if step else ""
            reason = ": ".join(
                str(self.error[key]) for key in ("type", "message") if key in self.error
            )
            message = f"run {run} failed{in_step}" + (f": {reason}" if reason else "")
        super().__init__(message)


class RunCancelled(PgflowError):
    """The run was cancelled."""

    def __init__(self, message: str | None = None, *, run: str) -> None:
        """Store the id of the run."""
        self.run = run
        super().__init__(message or f"run {run} was cancelled")


class WrongSetting(PgflowError):
    """A setting has an invalid value."""


class NotFound(PgflowError):
    """There is no such flow, run or step."""

    def __init__(self, message: str | None = None, *, suggestions: Sequence[str] = ()) -> None:
        """Store existing names that the caller may have meant."""
        self.suggestions = tuple(suggestions)
        super().__init__(message)


class SchemaMismatch(PgflowError):
    """The database does not have the tables of this release; run `pgflow-yaml migrate`."""


class Unavailable(PgflowError):
    """The database cannot be reached."""


class PermanentError(PgflowError):
    """Raised by a handler: a retry cannot help, so the step fails at once."""


class RetryLater(PgflowError):
    """Raised by a handler: retry this task after `delay` seconds; the call counts as an attempt."""

    def __init__(self, delay: float, message: str | None = None) -> None:
        """Store the delay, in seconds."""
        self.delay = delay
        super().__init__(message or f"the handler asked for another attempt in {delay:g} s")


def _summary(file: str, diagnostics: Sequence[Diagnostic]) -> str:
    errors = [finding for finding in diagnostics if finding.severity == "error"]
    if not errors:
        return f"{file} is not a valid flow"
    first = errors[0]
    position = f"{file}:{first.span.line}:{first.span.column}" if first.span else file
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{position}: {first.message}{more}"
