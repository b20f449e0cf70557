"""The calls of the database: one method for each SQL function."""

from __future__ import annotations

from typing import Self

from pgflow_yaml.database.store.attempts import Attempts, Outage
from pgflow_yaml.database.store.debounce import DebounceCalls
from pgflow_yaml.database.store.definitions import DefinitionCalls
from pgflow_yaml.database.store.dial import Bounds
from pgflow_yaml.database.store.errors import Refused
from pgflow_yaml.database.store.health import HealthCalls
from pgflow_yaml.database.store.logs import LogCalls, LogReply
from pgflow_yaml.database.store.pruning import PruneCalls
from pgflow_yaml.database.store.retries import RetryCalls
from pgflow_yaml.database.store.runs import RunCalls
from pgflow_yaml.database.store.schedules import ScheduleCalls
from pgflow_yaml.database.store.transaction_statements import Attempt, TransactionEnded
from pgflow_yaml.database.store.transactions import AsyncTransaction, Links, Transaction
from pgflow_yaml.database.store.views import ViewCalls
from pgflow_yaml.database.store.wake import Listener, WakeUpsUnsupported
from pgflow_yaml.database.store.workers import (
    LOCK_TIMEOUT,
    LONGEST_LEASE,
    DueSchedule,
    EndShape,
    TimersReply,
    TurnReply,
    WorkerCalls,
    set_clock,
)

__all__ = [
    "LOCK_TIMEOUT",
    "LONGEST_LEASE",
    "MOST_CHARACTERS",
    "AsyncTransaction",
    "Attempt",
    "Attempts",
    "Bounds",
    "DueSchedule",
    "EndShape",
    "Links",
    "Listener",
    "LogReply",
    "Outage",
    "Refused",
    "Store",
    "TimersReply",
    "Transaction",
    "TransactionEnded",
    "TurnReply",
    "WakeUpsUnsupported",
    "set_clock",
]

MOST_CHARACTERS = 8_000_000
"""The limit for the data of one statement, unless a single value is longer."""


class Store(
    DefinitionCalls,
    DebounceCalls,
    RunCalls,
    WorkerCalls,
    HealthCalls,
    LogCalls,
    PruneCalls,
    RetryCalls,
    ScheduleCalls,
    ViewCalls,
):
    """The SQL functions over one connection, for one thread at a time."""

    def __enter__(self) -> Self:
        """Connect at the first statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.close()
