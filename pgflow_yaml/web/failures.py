"""Errors as a page tells them: a sentence and a status."""

from __future__ import annotations

from pgflow_yaml import errors
from pgflow_yaml.text import error_sentence, for_people

_STATUSES: tuple[tuple[type[errors.PgflowError], int], ...] = (
    (errors.NotFound, 404),
    (errors.SchemaMismatch, 503),
    (errors.Unavailable, 503),
    (errors.InvalidInput, 422),
    (errors.WrongSetting, 400),
)


def status_of(error: errors.PgflowError) -> int:
    """Return the status of an answer that tells this error; what was refused is a conflict."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 409)


def sentence(error: errors.PgflowError) -> str:
    """Return an error on one line, without passwords."""
    return for_people(error_sentence(error))
