"""The exception tree: one sentence each, and the data beside it."""

from __future__ import annotations

import pytest

from pgflow_yaml import errors
from pgflow_yaml.errors import (
    Diagnostic,
    InvalidFlow,
    InvalidInput,
    NotFound,
    PermanentError,
    PgflowError,
    RetryLater,
    RunCancelled,
    RunFailed,
    SchemaMismatch,
    Span,
    Unavailable,
)


def test_without_a_message_the_docstring_is_shown() -> None:
    """Every class says something a person can act on."""
    assert str(Unavailable()) == "The database cannot be reached."
    assert str(NotFound()) == "There is no such flow, run or step."
    assert "migrate" in str(SchemaMismatch())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RunFailed(run="r", step="s", error={"type": "E", "message": "m"}), 'in step "s": E: m'),
        (RunFailed(run="r"), "run r failed"),
        (RunCancelled(run="r"), "run r was cancelled"),
        (RetryLater(1.5), "1.5 s"),
        (PermanentError("no"), "no"),
        (
            InvalidInput(problems=[{"path": "a", "message": "is required"}]),
            "refused: a: is required",
        ),
        (InvalidInput(problems=[{"path": "", "message": "must be x"}]), "refused: must be x"),
        (InvalidInput("sentence", problems=[{"path": "a", "message": "m"}]), "sentence"),
    ],
)
def test_the_message_holds_the_data(error: PgflowError, message: str) -> None:
    """One sentence is enough for a log line."""
    assert message in str(error)


def test_an_invalid_flow_names_its_first_error_not_a_warning() -> None:
    """The message leads to the first thing to fix."""
    span = Span(line=3, column=5, end_line=3, end_column=6)
    warning = Diagnostic(code="PF022", message="w", span=span, severity="warning")
    error = Diagnostic(code="PF101", message="e", span=span)

    assert str(InvalidFlow("f", "", [warning, error])) == "f:3:5: e"
    assert str(InvalidFlow("f", "", [error, error])) == "f:3:5: e (and 1 more)"
    assert str(InvalidFlow("f", "", [warning])) == "f is not a valid flow"
    unplaced = Diagnostic(code="PF101", message="e", span=None)
    assert str(InvalidFlow("f", "", [unplaced])) == "f: e"


def test_every_exception_is_in_the_tree_drawn_on_top() -> None:
    """The picture in the module's docstring is complete."""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, PgflowError):
            assert name in (errors.__doc__ or ""), name
