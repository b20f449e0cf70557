"""The base of the groups of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString
from uuid import uuid4

from pgflow_yaml.database.store.connection import Connection, ask_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.database.store.connection import JoinedConnection


class Calls(Connection):
    """Calls of SQL functions, alone or in the transaction of a caller."""

    def ask_in(
        self,
        connection: JoinedConnection | None,
        query: LiteralString,
        params: Sequence[object],
        *,
        repeatable: bool = True,
    ) -> Any:
        """Ask in the caller's transaction if there is one."""
        if connection is not None:
            return ask_within(connection, query, params)
        return self.ask(query, params, repeatable=repeatable)


def request_id() -> str:
    """Return the id of a request: sent again after a lost reply, it gets the first answer."""
    return str(uuid4())
