"""One statement of a flow, in a database that need not be the engine's own."""

from __future__ import annotations

import json
import re
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb
from psycopg.types.string import TextLoader

from pgflow_yaml.database.store.dial import is_hopeless
from pgflow_yaml.database.store.errors import message_of
from pgflow_yaml.errors import PgflowError
from pgflow_yaml.text import mask_passwords

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from pgflow_yaml.language.model import Json

_CONNECT_SECONDS = 10
# Python's values of these have no form in JSON; the database's texts do.
_AS_TEXT = re.compile(r"bytea|cidr|inet|interval|\w+range")
# What another attempt may change: connections, deadlocks, locks, limits, restarts, a standby.
_MAY_PASS = re.compile("08|40|53|55|57|58|25006")
_NO_ROWS = re.compile(
    r"\s*(?:insert|update|delete|merge|do|create|alter|drop|truncate|grant|revoke)\b"
    r"(?!.*\breturning\b)",
    re.IGNORECASE | re.DOTALL,
)


class Failed(PgflowError):
    """A statement failed; `may_pass` says that another attempt may succeed."""

    def __init__(self, message: str, *, may_pass: bool) -> None:
        self.may_pass = may_pass
        super().__init__(message)


async def run_statement(
    conninfo: str,
    statement: str,
    parameters: Sequence[Json] | Mapping[str, Json] | None,
    *,
    limit: int,
    max_bytes: int,
    seconds: float,
) -> tuple[list[dict[str, Any]], int]:
    """Run one statement in a transaction; return its rows, and how many it returned or changed.

    More rows than `limit` are not read: one more is returned, and all is undone. Raises Failed,
    also if the rows have more than `max_bytes` of JSON.
    """
    connection = await _connected(conninfo, seconds)
    try:
        rows, count = await _run(
            connection, statement, parameters, limit=limit, max_bytes=max_bytes, seconds=seconds
        )
        if len(rows) <= limit:
            await connection.commit()
    except psycopg.Error as error:
        raise _failed(error) from None
    else:
        return rows, count
    finally:
        with suppress(psycopg.Error):
            await connection.close()


async def _connected(conninfo: str, seconds: float) -> psycopg.AsyncConnection[Any]:
    try:
        own = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:  # its message shows a part of it
        raise Failed("its connection string cannot be read", may_pass=False) from None
    patience = max(2, min(_CONNECT_SECONDS, int(seconds)))
    settings = {"application_name": "pgflow-yaml sql", "connect_timeout": patience, **own}
    try:
        connection = await psycopg.AsyncConnection.connect(
            make_conninfo("", **settings), prepare_threshold=None
        )
    except psycopg.Error as error:
        reason = mask_passwords(message_of(error))
        may_pass = not is_hopeless(error, reason)
        raise Failed(f"cannot connect: {reason}", may_pass=may_pass) from None
    for kind in psycopg.adapters.types:
        if _AS_TEXT.fullmatch(kind.name):
            connection.adapters.register_loader(kind.oid, TextLoader)
    return connection


async def _run(
    connection: psycopg.AsyncConnection[Any],
    statement: str,
    parameters: Sequence[Json] | Mapping[str, Json] | None,
    *,
    limit: int,
    max_bytes: int,
    seconds: float,
) -> tuple[list[dict[str, Any]], int]:
    # Without parameters a % is a %. Both kinds take one statement only.
    kind = psycopg.AsyncRawCursor if parameters is None else psycopg.AsyncCursor
    bound = _bound(parameters)
    query = statement.encode()
    await _limit_time(connection, seconds)
    if not _NO_ROWS.match(statement):
        rows = await _stream(kind(connection), query, bound, limit=limit, max_bytes=max_bytes)
        if rows is not None:
            return rows, len(rows)
        await connection.rollback()
        await _limit_time(connection, seconds)
    cursor = kind(connection)
    # There are no rows to read as binary; but so the driver sends one statement, never more.
    await cursor.execute(query, bound, binary=True)
    return [], max(cursor.rowcount, 0)


async def _limit_time(connection: psycopg.AsyncConnection[Any], seconds: float) -> None:
    """Let the server end the statement too, should this process be gone by then."""
    milliseconds = str(max(1, int(seconds * 1000)))
    await connection.execute(
        "select pg_catalog.set_config('statement_timeout', %s, true)", [milliseconds]
    )


async def _stream(
    cursor: psycopg.AsyncCursor[Any], query: bytes, bound: Any, *, limit: int, max_bytes: int
) -> list[dict[str, Any]] | None:
    """Return the rows, at most one more than `limit`; None if the statement returns none."""
    rows: list[dict[str, Any]] = []
    size = 0
    try:
        # A generator, whose end by `aclosing` cancels the rest on the server.
        generator = cast("AsyncGenerator[Any, None]", cursor.stream(query, bound))
        async with aclosing(generator) as stream:
            async for row in stream:
                rows.append(dict(zip(_columns(cursor), row, strict=True)))
                if len(rows) > limit:
                    break
                size += _size(rows[-1])
                if size > max_bytes:
                    raise _too_large(max_bytes)
    except psycopg.ProgrammingError as error:
        # The driver tells so only by its words, and then does not know the number of rows.
        if error.sqlstate is not None or "produce a result" not in str(error):
            raise
        return None
    return rows


def _size(row: dict[str, Any]) -> int:
    """Return the bytes of a row in the output of the step, with its comma."""
    text = json.dumps(row, default=str, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode()) + 1


def _too_large(max_bytes: int) -> Failed:
    return Failed(
        f"the statement returns more than {max_bytes / 1024**2:.0f} MB, and was undone: "
        "select fewer rows or columns",
        may_pass=False,
    )


def _columns(cursor: psycopg.AsyncCursor[Any]) -> list[str]:
    names = [column.name for column in cursor.description or ()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Failed(f'two columns have the name "{twice}": rename one with `as`', may_pass=False)
    return names


def _bound(parameters: Sequence[Json] | Mapping[str, Json] | None) -> Any:
    if isinstance(parameters, dict):
        return {name: _value(value) for name, value in parameters.items()}
    return [_value(value) for value in parameters or ()]


def _value(value: Json) -> Any:
    """Return a list of plain values for an array, and what else has parts as jsonb."""
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return Jsonb(value)
    return value


def _failed(error: psycopg.Error) -> Failed:
    state = error.sqlstate
    message = mask_passwords(message_of(error))
    if state is None:
        return Failed(message, may_pass=isinstance(error, psycopg.OperationalError))
    return Failed(f"{message} ({state})", may_pass=_MAY_PASS.match(state) is not None)
