"""Built-in handlers that a flow may name: `fail`, and what a worker must allow by name.

`grants` is what the worker grants to `http`, `shell` and `sql`; a step cannot give it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from pgflow_yaml.errors import PermanentError

if TYPE_CHECKING:
    from pgflow_yaml.handlers.grants import Grants
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Context


def fail(message: str = "this step always fails") -> NoReturn:
    """Fail the step with this message and without a retry; raises PermanentError."""
    raise PermanentError(message)


def shell(
    grants: Grants,
    /,
    ctx: Context,
    *,
    command: Json,
    env: Json = None,
    cwd: Json = None,
    stdin: Json = None,
    output: Json = "none",
    exit_codes: Json = 0,
) -> Json:
    """Run a program; its output goes to the log line by line, and with `output` is returned."""
    from pgflow_yaml.handlers.commands import Command, run_command

    return run_command(
        Command.read(
            grants, command=command, env=env, cwd=cwd, output=output, exit_codes=exit_codes
        ),
        stdin,
        ctx,
    )


def http(  # noqa: PLR0913 (the keys of `with`)
    grants: Grants,
    /,
    ctx: Context,
    *,
    url: Json,
    query: Json = None,
    method: Json = None,
    json: Json = None,
    body: Json = None,
    headers: Json = None,
    expect: Json = None,
) -> Json:
    """Send a request; return the status, the headers and the body of the reply."""
    from pgflow_yaml.handlers.requests import Request, request, with_query

    return request(
        Request.read(
            url=with_query(url, query),
            method=method,
            json=json,
            body=body,
            headers=headers,
            expect=expect,
        ),
        grants,
        ctx,
    )


async def sql(
    grants: Grants,
    /,
    ctx: Context,
    *,
    database: Json,
    statement: Json,
    parameters: Json = None,
    limit: Json = 1000,
) -> dict[str, object]:
    """Run one SQL statement in a transaction of its own; return its rows and their number."""
    from pgflow_yaml.handlers.statements import Statement, run

    return await run(
        Statement.read(
            grants, database=database, statement=statement, parameters=parameters, limit=limit
        ),
        ctx,
    )
