"""Statements for the transaction of a handler.

They are generators: who executes a statement sends its first row back, or throws its error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from pgflow_yaml.database.store.workers import TURN
from pgflow_yaml.errors import PermanentError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from pgflow_yaml.language.model import Json

    Statement: TypeAlias = tuple[LiteralString, Sequence[object]]
    Statements: TypeAlias = Generator[Statement, Any, Any]

NAME = "pgflow-yaml tx"
"""The beginning of the application_name of such a connection."""

_MARGIN_SECONDS = 5.0  # the worker ends a handler whose time is up; the server, if it cannot

# The first statement fixes the isolation level: from here on nobody can change it.
_BEGIN: LiteralString = """
select pg_catalog.pg_is_in_recovery(),
  pg_catalog.set_config('application_name', %s, true),
  pg_catalog.set_config('statement_timeout', %s, true),
  pg_catalog.set_config('idle_in_transaction_session_timeout', %s, true),
  pg_catalog.set_config('pgflow.attempt', %s, true)"""
# A former attempt of the task may be open: its worker is frozen, or cannot be reached.
_END_FORMER: LiteralString = """
select pg_catalog.count(pg_catalog.pg_terminate_backend(a.pid)) from pg_catalog.pg_stat_activity a
where a.datname = pg_catalog.current_database() and a.usename = session_user
  and pg_catalog.starts_with(a.application_name, %s)
  and pg_catalog.substring(a.application_name, '#([0-9]{1,9}) ')::int < %s"""
# What the handler may have set for itself must not hinder its completion.
_READY: LiteralString = """
select pg_catalog.current_setting('pgflow.attempt', true),
  pg_catalog.set_config('role', 'none', true),
  pg_catalog.set_config('statement_timeout', %s, true),
  pg_catalog.set_config('lock_timeout', '0', true)"""
_AGAIN = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


class TransactionEnded(PermanentError):
    """A handler has ended the transaction that it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Facts about the attempt that a transaction belongs to."""

    worker: str
    run_id: str
    label: str
    """The step, with the index of the item of a map."""
    fence: int
    seconds: float
    """The time that is left for it."""

    @property
    def prefix(self) -> str:
        """The beginning of the application_name of all attempts of its task."""
        digest = sha256(f"{self.run_id}/{self.label}".encode()).hexdigest()
        return f"{NAME} {self.run_id[:8]}-{digest[:12]}#"

    @property
    def name(self) -> str:
        """The application_name while it runs; the server cuts it at 63 bytes."""
        return f"{self.prefix}{self.fence} {self.label}"

    @property
    def limit(self) -> str:
        """The milliseconds after which the server ends what the worker has not."""
        return str(int((max(self.seconds, 0.0) + _MARGIN_SECONDS) * 1000))


def begin(attempt: Attempt, more: Iterable[Statement]) -> Statements:
    """Name the transaction and set its limits; end a former one of the task."""
    reads_only, *_ = yield _BEGIN, [attempt.name, attempt.limit, attempt.limit, attempt.name]
    if reads_only:
        raise Unavailable("this server only reads (a standby): use the primary")
    for query, params in more:  # noqa: UP028 (their rows are sent here)
        yield query, params
    if attempt.fence > 1:
        yield _END_FORMER, [attempt.prefix, attempt.fence]


def settle(
    attempt: Attempt, status: TransactionStatus, report: str, options: Mapping[str, Json]
) -> Statements:
    """Settle a report as `turn` does, without a claim; return the reply."""
    if status == TransactionStatus.INERROR:
        raise TransactionEnded(
            "a statement of the transaction `tx` failed and the handler went on: "
            "statements that may fail belong in `with tx.transaction():`"
        )
    name, *_ = yield _READY, [attempt.limit]
    if status != TransactionStatus.INTRANS or name != attempt.name:
        raise TransactionEnded(
            "the handler ended the transaction `tx` itself: the worker commits it, "
            "together with the completion of the task"
        )
    params = [attempt.worker, f"[{report}]", [], 0, 1, [], json.dumps(options)]
    while True:
        yield "savepoint pgflow_settle", []
        try:
            (reply,) = yield f"{TURN}::text", params
        except _AGAIN:  # another session holds the run: until the time of the handler is up
            yield "rollback to savepoint pgflow_settle", []
        else:
            return json.loads(reply)
