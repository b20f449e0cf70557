"""The handler `sql`: one statement with bound parameters, in a database that the worker names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgflow_yaml.database.statement import Failed, run_statement
from pgflow_yaml.errors import PermanentError, PgflowError
from pgflow_yaml.handlers.arguments import WrongArgument, shown, text
from pgflow_yaml.worker.calls.boundary import MAX_BYTES

if TYPE_CHECKING:
    from pgflow_yaml.handlers.grants import Grants
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Context

MAX_ROWS = 10_000
_AROUND_ROWS = len('{"rows":[],"count":10000}')
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class StatementRefused(PermanentError):
    """The database refuses the statement, and would refuse it again."""


class DatabaseFailed(PgflowError):
    """The database cannot be reached, or something else that another attempt may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement of a step, checked."""

    database: str
    conninfo: str
    statement: str
    parameters: list[Json] | dict[str, Json] | None
    limit: int

    @classmethod
    def read(
        cls, grants: Grants, *, database: Json, statement: Json, parameters: Json, limit: Json
    ) -> Statement:
        """Return the statement of a step; raise PermanentError for what it cannot or may not be."""
        name = text(database, "database")
        if not _NAME.fullmatch(name):
            raise WrongArgument(
                "database is a name such as warehouse, in small letters: its connection string "
                "is a variable of the worker"
            )
        if parameters is not None and not isinstance(parameters, list | dict):
            raise WrongArgument(f"parameters is a mapping or a list, not {shown(parameters)}")
        if type(limit) is not int or not 0 <= limit <= MAX_ROWS:
            raise WrongArgument(f"limit is a number of rows from 0 to {MAX_ROWS:,}")
        return cls(
            database=name,
            conninfo=grants.database(name),
            statement=text(statement, "statement"),
            parameters=parameters,
            limit=limit,
        )


async def run(wanted: Statement, ctx: Context) -> dict[str, object]:
    """Run the statement of a step; return its rows, and how many it returned or changed."""
    seconds = (ctx.deadline - datetime.now(UTC)).total_seconds()
    try:
        rows, count = await run_statement(
            wanted.conninfo,
            wanted.statement,
            wanted.parameters,
            limit=wanted.limit,
            max_bytes=MAX_BYTES - _AROUND_ROWS,
            seconds=seconds,
        )
    except Failed as error:
        message = f"database {wanted.database}: {error.message}"
        raise (DatabaseFailed if error.may_pass else StatementRefused)(message) from None
    if len(rows) > wanted.limit:
        raise StatementRefused(
            f"database {wanted.database}: the statement returns more than {wanted.limit:,} rows, "
            "and was undone: limit its rows, or raise `limit`"
        )
    return {"rows": rows, "count": count}
