"""Errors of the driver as this package's exceptions, and their messages without passwords."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from pgflow_yaml.errors import InvalidInput, NotFound, PgflowError, SchemaMismatch
from pgflow_yaml.text import mask_passwords

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg


_CONTENT = re.compile("21|22|23|54|P0|PF|XX000")
_PREFIX = re.compile("^(connection failed|connection is bad): ")

_ERRORS: Mapping[str, type[PgflowError]] = {
    "PF001": NotFound,
    "PF002": InvalidInput,
    "PF003": PgflowError,
    "PF004": PgflowError,
    "PF005": PgflowError,
    "PF006": PgflowError,
    "3F000": SchemaMismatch,  # no such schema
    "42883": SchemaMismatch,  # no such function
    "42P01": SchemaMismatch,  # no such table
}
_OUR_SCHEMA = re.compile(r'\bpgflow\.|"pgflow"')


class Refused(PgflowError):
    """The database refused a statement and would refuse it again.

    Or it did so several times, for a reason that may pass: then `is_content` is false.
    """

    def __init__(self, message: str, *, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate
        super().__init__(message)

    @property
    def is_content(self) -> bool:
        """Return True if the data of the statement is the reason, not locks, limits or rights."""
        return self.sqlstate is not None and _CONTENT.match(self.sqlstate) is not None


def translated(error: psycopg.Error) -> PgflowError:
    """Return our exception for an error of the database."""
    state = error.sqlstate
    message = message_of(error)
    kind = _ERRORS.get(state or "")
    if kind is SchemaMismatch and not _OUR_SCHEMA.search(message):
        kind = None  # a dropped queue, or what a trigger of somebody else's needs
    if kind is InvalidInput:
        subject = "the answer" if message.startswith("the answer ") else "the input"
        with suppress(ValueError):
            problems = json.loads(error.diag.message_detail or "")
            return InvalidInput(problems=problems, subject=subject)
        return InvalidInput(message)
    if kind is SchemaMismatch:
        return SchemaMismatch(
            f"{message}: the database does not fit this release; run `pgflow-yaml migrate`"
        )
    if kind is not None:
        return kind(message)
    return Refused(mask_passwords(message), sqlstate=state)


def message_of(error: psycopg.Error) -> str:
    """Return the message of an error in one line, without its context and hints."""
    if error.diag.message_primary:
        return error.diag.message_primary
    # libpq's first line is the reason; its DETAIL and the other hosts of the conninfo follow.
    lines = _PREFIX.sub("", str(error).strip()).splitlines()
    return lines[0].strip() if lines else type(error).__name__
