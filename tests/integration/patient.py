"""A database whose checks are made one by one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pgflow_yaml.database import health
from pgflow_yaml.database.health import Limits
from pgflow_yaml.database.health.inspector import Inspector
from tests.engine.driver import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from pgflow_yaml.database.health import Check


class Patient:
    """A database, the checks of it one by one, and a worker of the tests."""

    def __init__(self, conninfo: str, db: psycopg.Connection) -> None:
        self.conninfo = conninfo
        self.db = db

    def check(self, name: str, *, now: Callable[[], float] = time.time, **limits: Any) -> Check:
        """One check."""
        ask = Inspector(self.conninfo, Limits(**limits), now=now)
        try:
            return health._made(ask, name, {**health.CHECKS, **health.SECURITY}[name])
        finally:
            ask.close()

    def engine(self) -> Engine:
        """A worker that is alive, and serves every queue."""
        return Engine(self.db)

    def wait(self, queue: str, age: str) -> None:
        """Let the visible tasks of a queue have been there for some time."""
        past, messages = f"now() - interval '{age}'", f"pgmq.q_{queue}"
        self.db.execute(
            f"""update pgflow.step_tasks t set queued_at = {past}
            from {messages} q where q.msg_id = t.message_id and q.vt <= now()""".encode()
        )
        self.db.execute(f"update {messages} set vt = {past} where vt <= now()".encode())


def messages(check: Check) -> list[tuple[str, str | None]]:
    """What was found, and the remedy."""
    return [(finding.message, finding.fix) for finding in check.findings]
